package certs

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des" //nolint:gosec // what OpenSSL 1.0 wrote; nothing is encrypted by it here
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // PBKDF2's default in PKCS #5, for keys written by others
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"os"
	"strings"
)

// What a key with a password can fail with.
var (
	// ErrPassword: the password is missing or wrong.
	ErrPassword = errors.New("the password of the key is missing or wrong")
	// ErrCipher: the key is encrypted in a way that is not supported.
	ErrCipher = errors.New("the key is encrypted in a way that is not supported: write it anew with openssl pkey -aes256")
)

// Pair reads a certificate chain and its key; an empty keyFile means that the key
// is in certFile. password is for a key that has one.
func Pair(certFile, keyFile, password string) (tls.Certificate, error) {
	if keyFile == "" {
		keyFile = certFile
	}
	chain, err := os.ReadFile(certFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	if key, err = plainKey(key, password); err != nil {
		return tls.Certificate{}, fmt.Errorf("%s: %w", keyFile, err)
	}
	return tls.X509KeyPair(chain, key)
}

// plainKey replaces an encrypted key among PEM blocks by the plain one.
func plainKey(data []byte, password string) ([]byte, error) {
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return data, nil // no key with a password: X509KeyPair judges it
		}
		var der []byte
		var err error
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY":
			block.Type = "PRIVATE KEY"
			der, err = decryptPKCS8(block.Bytes, password)
		case x509.IsEncryptedPEMBlock(block): //nolint:staticcheck // openssl rsa -aes256 writes it still
			der, err = x509.DecryptPEMBlock(block, []byte(password)) //nolint:staticcheck // the same
			if err != nil {
				err = ErrPassword
			}
		default:
			continue
		}
		if err != nil {
			return nil, err
		}
		return pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: der}), nil
	}
}

// The structures of PKCS #8 (RFC 5958) and PBES2 (RFC 8018).
type (
	encryptedKey struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
	pbes2 struct{ KDF, Cipher pkix.AlgorithmIdentifier }
	kdf   struct {
		Salt       []byte
		Iterations int
		KeyLength  int                      `asn1:"optional"`
		PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
	}
)

const (
	oidPBES2  = "1.2.840.113549.1.5.13"
	oidPBKDF2 = "1.2.840.113549.1.5.12"
	// mostIterations bounds what a file can make us compute: OpenSSL's default is
	// 2,048, and a million take about half a second.
	mostIterations = 2_000_000
)

// prfs are the hashes of PBKDF2; none named is SHA-1.
var prfs = map[string]func() hash.Hash{
	"": sha1.New, "1.2.840.113549.2.7": sha1.New, "1.2.840.113549.2.9": sha256.New, "1.2.840.113549.2.11": sha512.New,
}

// blockCiphers are the ciphers of PBES2, in CBC mode, and their key's length.
var blockCiphers = map[string]struct {
	length int
	make   func([]byte) (cipher.Block, error)
}{
	"2.16.840.1.101.3.4.1.2": {16, aes.NewCipher}, "2.16.840.1.101.3.4.1.22": {24, aes.NewCipher},
	"2.16.840.1.101.3.4.1.42": {32, aes.NewCipher}, "1.2.840.113549.3.7": {24, des.NewTripleDESCipher},
}

func decryptPKCS8(der []byte, password string) ([]byte, error) {
	var key encryptedKey
	var scheme pbes2
	var derive kdf
	var iv []byte
	if _, err := asn1.Unmarshal(der, &key); err != nil || key.Algorithm.Algorithm.String() != oidPBES2 {
		return nil, ErrCipher
	}
	if _, err := asn1.Unmarshal(key.Algorithm.Parameters.FullBytes, &scheme); err != nil || scheme.KDF.Algorithm.String() != oidPBKDF2 {
		return nil, ErrCipher
	}
	_, badKDF := asn1.Unmarshal(scheme.KDF.Parameters.FullBytes, &derive)
	_, badIV := asn1.Unmarshal(scheme.Cipher.Parameters.FullBytes, &iv)
	prf := prfs[strings.TrimSpace(derive.PRF.Algorithm.String())]
	how, known := blockCiphers[scheme.Cipher.Algorithm.String()]
	if badKDF != nil || badIV != nil || prf == nil || !known || derive.Iterations < 1 || derive.Iterations > mostIterations {
		return nil, ErrCipher
	}
	secret, err := pbkdf2.Key(prf, password, derive.Salt, derive.Iterations, how.length)
	if err != nil {
		return nil, ErrCipher
	}
	block, err := how.make(secret)
	if err != nil || len(iv) != block.BlockSize() || len(key.Data) == 0 || len(key.Data)%block.BlockSize() != 0 {
		return nil, ErrCipher
	}
	plain := make([]byte, len(key.Data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, key.Data)
	return unpadded(plain, block.BlockSize())
}

// unpadded takes the padding off; a wrong password shows here, or in what is left
// being no key.
func unpadded(plain []byte, size int) ([]byte, error) {
	n := int(plain[len(plain)-1])
	if n < 1 || n > size || !bytes.Equal(plain[len(plain)-n:], bytes.Repeat([]byte{byte(n)}, n)) {
		return nil, ErrPassword
	}
	plain = plain[:len(plain)-n]
	if _, err := x509.ParsePKCS8PrivateKey(plain); err != nil {
		return nil, ErrPassword
	}
	return plain, nil
}
