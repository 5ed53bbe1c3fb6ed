package postgres

import "testing"

func TestACancelledWaitIsKnownByItsLine(t *testing.T) {
	const user, admin = "canceling wait for synchronous replication due to user request", "canceling the wait for synchronous replication and terminating connection due to administrator command"
	for _, c := range []struct {
		name, format, line string
		want               bool
	}{
		{"Debian's prefix", logStderr, "2026-11-28 12:00:00.1 UTC [71] app@db WARNING:  " + user, true},
		{"no prefix", logStderr, "WARNING:  " + user, true},
		{"by an administrator", logStderr, "12:00 [71] WARNING:  " + admin, true},
		{"verbose", logStderr, "[71] WARNING:  01000: " + user, true},
		{"a prefix with another severity in small letters", logStderr, "log: [71] WARNING:  " + user, true},
		{"its detail", logStderr, "[71] DETAIL:  The transaction has already committed locally, but might not have been replicated to the standby.", false},
		{"a statement that quotes it at its end", logStderr, "[71] STATEMENT:  select 1 -- WARNING:  " + user, false},
		{"a later line of a statement", logStderr, "\tWARNING:  " + user, false},
		{"another severity", logStderr, "[71] LOG:  " + user, false},
		{"more than it", logStderr, "[71] WARNING:  " + user + "!", false},
		{"a cancelled query", logStderr, "[71] ERROR:  canceling statement due to user request", false},

		{"csv", logCSV, `2026-11-28 12:00:00 UTC,"app","db",71,"[local]",6,1,"COMMIT",t,3/2,0,WARNING,01000,"` + user + `","The transaction has already committed locally",,,,,,,,"psql"`, true},
		{"csv, by an administrator", logCSV, `t,"app","db",71,,6,1,"COMMIT",t,3/2,0,WARNING,57P01,"` + admin + `",,,`, true},
		{"csv, quoted in a statement", logCSV, `t,"app","db",71,,6,1,"SELECT",t,3/2,0,LOG,00000,"statement: select ',WARNING,01000,""` + user + `"",'",,,`, false},
		{"csv, raised as an error", logCSV, `t,"app","db",71,,6,1,"SELECT",t,3/2,0,ERROR,P0001,"` + user + `",,,`, false},

		{"json", logJSON, `{"timestamp":"t","user":"app","pid":71,"error_severity":"WARNING","state_code":"01000","message":"` + user + `","detail":"x"}`, true},
		{"json, by an administrator", logJSON, `{"error_severity":"WARNING","state_code":"57P01","message":"` + admin + `"}`, true},
		{"json, quoted in a statement", logJSON, `{"error_severity":"WARNING","message":"x","statement":"select '\"message\":\"` + user + `\"'"}`, false},
		{"json, another severity", logJSON, `{"error_severity":"LOG","message":"` + user + `"}`, false},
	} {
		if got := isCancelled(c.format, c.line); got != c.want {
			t.Errorf("%s: %v, want %v: %s", c.name, got, c.want, c.line)
		}
	}
}

func FuzzCancelledLine(f *testing.F) {
	f.Add("12:00 [71] WARNING:  canceling wait for synchronous replication due to user request")
	f.Add(`,WARNING,01000,"canceling wait for synchronous replication due to user request",`)
	f.Fuzz(func(_ *testing.T, line string) {
		for _, format := range []string{logStderr, logCSV, logJSON} {
			isCancelled(format, line)
		}
	})
}
