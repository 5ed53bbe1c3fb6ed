package postgres

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
)

// rewindFunctions are what pg_rewind calls on its source.
var rewindFunctions = []string{
	"pg_ls_dir(text, boolean, boolean)",
	"pg_stat_file(text, boolean)",
	"pg_read_binary_file(text)",
	"pg_read_binary_file(text, bigint, bigint, boolean)",
}

// createRoles makes the replication and the rewind role with a stand-alone
// backend. The password file of initdb has made the superuser.
func (s *Server) createRoles(ctx context.Context, lock *os.File) error {
	sql, err := s.rolesSQL()
	if err != nil || len(sql) == 0 {
		return err
	}
	_, err = s.run(ctx, job{
		program: "postgres",
		// fsync is off as for pg_rewind's own stand-alone backend: the file system is
		// synced before the tombstone goes.
		args: []string{"--single", "-F", "-D", s.o.DataDir, "-c", "exit_on_error=on", "-c", "log_checkpoints=off",
			"-c", "log_min_error_statement=panic", "-c", "log_min_messages=error", "postgres"},
		stdin: strings.Join(sql, "\n") + "\n", // one statement a line
		files: []*os.File{lock},
	})
	if err != nil {
		return fmt.Errorf("make the roles: %w", err)
	}
	return nil
}

// rolesSQL are the statements, one line each. They may run again. Passwords are in
// them as SCRAM verifiers only.
func (s *Server) rolesSQL() ([]string, error) {
	superuser := s.o.Superuser.Username
	replication, rewind := s.o.Replication, s.o.Rewind
	var sql []string
	if replication.Username != superuser {
		role, err := roleSQL(replication, "LOGIN REPLICATION")
		if err != nil {
			return nil, err
		}
		sql = append(sql, role...)
	}
	if rewind.Username == superuser {
		return sql, nil
	}
	if rewind.Username != replication.Username {
		role, err := roleSQL(rewind, "LOGIN")
		if err != nil {
			return nil, err
		}
		sql = append(sql, role...)
	}
	for _, function := range rewindFunctions {
		sql = append(sql, fmt.Sprintf("GRANT EXECUTE ON FUNCTION pg_catalog.%s TO %s", function, quoteIdent(rewind.Username)))
	}
	return sql, nil
}

func roleSQL(c Credentials, rights string) ([]string, error) {
	if strings.ContainsAny(c.Username+c.Password, "\r\n\x00") {
		return nil, fmt.Errorf("%w: user name or password of %s contains a line break", ErrOptions, c.Configured)
	}
	password := "NULL"
	if c.Password != "" {
		verifier, err := scramVerifier(c.Password)
		if err != nil {
			return nil, err
		}
		password = quoteLiteral(verifier)
	}
	name := quoteIdent(c.Username)
	return []string{
		// Quoted as a text: a dollar quote would end at a name that holds it.
		"DO " + quoteLiteral(fmt.Sprintf("BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = %s) THEN CREATE ROLE %s; END IF; END",
			quoteLiteral(c.Username), name)),
		"SET password_encryption = 'scram-sha-256'",
		fmt.Sprintf("ALTER ROLE %s WITH %s PASSWORD %s", name, rights, password),
	}, nil
}

// scramIterations is PostgreSQL's own number.
const scramIterations = 4096

// scramVerifier is what PostgreSQL stores for a password, so that the password
// itself is in no statement. A password outside printable ASCII would need to be
// normalised first; that is left to the server, which then gets the password.
func scramVerifier(password string) (string, error) {
	if strings.ContainsFunc(password, func(r rune) bool { return r < ' ' || r > '~' }) {
		return password, nil
	}
	salt := make([]byte, 16)
	if _, err := rand.Read(salt); err != nil {
		return "", fmt.Errorf("make a salt: %w", err)
	}
	return scramWithSalt(password, salt)
}

func scramWithSalt(password string, salt []byte) (string, error) {
	salted, err := pbkdf2.Key(sha256.New, password, salt, scramIterations, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("derive a SCRAM verifier: %w", err)
	}
	stored := sha256.Sum256(keyed(salted, "Client Key"))
	base := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", scramIterations, base(salt), base(stored[:]), base(keyed(salted, "Server Key"))), nil
}

func keyed(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// quoteLiteral quotes an SQL string, whatever standard_conforming_strings says.
func quoteLiteral(text string) string {
	quoted := "'" + strings.ReplaceAll(text, "'", "''") + "'"
	if strings.Contains(text, `\`) {
		return " E" + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}
