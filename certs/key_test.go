package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newPair writes a fresh certificate and its key.
func newPair(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	chain, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	write(t, cert, "CERTIFICATE", chain)
	write(t, key, "PRIVATE KEY", der)
	return cert, key
}

func write(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// encrypted has openssl encrypt a key.
func encrypted(t *testing.T, key, password string, args ...string) string {
	t.Helper()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	out := key + strings.Join(args, "")
	args = append(args, "-in", key, "-out", out, "-passout", "pass:"+password)
	if said, err := exec.CommandContext(t.Context(), openssl, args...).CombinedOutput(); err != nil {
		t.Fatalf("openssl %v: %v: %s", args, err, said)
	}
	return out
}

func TestKeysWithAPasswordAreReadAsOpenSSLWritesThem(t *testing.T) {
	const password = "marked secret: x'\"\\"
	cert, key := newPair(t, t.TempDir(), "a")
	for _, how := range [][]string{
		{"pkey", "-aes256"}, {"pkcs8", "-topk8", "-v2", "aes-128-cbc"}, {"pkcs8", "-topk8", "-v2", "aes-192-cbc", "-v2prf", "hmacWithSHA1"},
		{"pkcs8", "-topk8", "-v2", "des3"}, {"pkcs8", "-topk8", "-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA512"}, {"ec", "-aes256"},
	} {
		file := encrypted(t, key, password, how...)
		if _, err := Pair(cert, file, password); err != nil {
			t.Errorf("%v: %v", how, err)
		}
		for _, wrong := range []string{"", "another"} {
			_, err := Pair(cert, file, wrong)
			if !errors.Is(err, ErrPassword) && (err == nil || how[0] == "pkey") {
				t.Errorf("%v with password %q: %v", how, wrong, err)
			}
		}
	}
	if _, err := Pair(cert, encrypted(t, key, password, "pkcs8", "-topk8", "-scrypt"), password); !errors.Is(err, ErrCipher) {
		t.Errorf("scrypt: %v", err)
	}
	if _, err := Pair(cert, key, ""); err != nil {
		t.Errorf("a key without a password: %v", err)
	}
}

func FuzzEncryptedKeysAreReadWithoutAPanic(f *testing.F) {
	f.Add([]byte{0x30, 0x03, 0x02, 0x01, 0x00}, "x")
	f.Fuzz(func(t *testing.T, der []byte, password string) {
		if plain, err := decryptPKCS8(der, password); err == nil && len(plain) == 0 {
			t.Error("no key and no error")
		}
	})
}

func TestAClientTakesChangedFilesAndKeepsTheLastGoodOnes(t *testing.T) {
	dir := t.TempDir()
	cert, key := newPair(t, dir, "a")
	c, err := NewClient(Files{CA: cert, CAKey: "etcd3.cacert", Cert: cert, Key: key, CertKey: "etcd3.cert"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	serial := func(config *tls.Config) string {
		parsed, err := x509.ParseCertificate(config.Certificates[0].Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		return parsed.SerialNumber.String()
	}
	first := c.Config()
	if c.Config() != first {
		t.Error("files that did not change were read again")
	}
	if err := os.WriteFile(cert, []byte("half a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := c.Config(); serial(got) != serial(first) {
		t.Error("a file that is no good was taken")
	}
	newPair(t, dir, "a")
	later := time.Now().Add(time.Minute)
	if err := os.Chtimes(cert, later, later); err != nil {
		t.Fatal(err)
	}
	if got := c.Config(); serial(got) == serial(first) {
		t.Error("the renewed certificate was not taken")
	}
	if _, err := NewClient(Files{CA: filepath.Join(dir, "none"), CAKey: "etcd3.cacert"}, nil); err == nil || !strings.Contains(err.Error(), "etcd3.cacert") {
		t.Errorf("a missing file: %v", err)
	}
}
