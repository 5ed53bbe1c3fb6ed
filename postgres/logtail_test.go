package postgres

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const cancelledLine = "12:00 [71] WARNING:  canceling wait for synchronous replication due to user request\n"

// logDir is a folder of the logging collector and its reader.
type logDir struct {
	t    *testing.T
	log  foundLog
	tail logTail
}

func newLogDir(t *testing.T) *logDir {
	return &logDir{t: t, log: foundLog{format: logStderr, folder: t.TempDir(), as: func(f func() error) error { return f() }}}
}

func (d *logDir) add(name, text string) {
	d.t.Helper()
	f, err := os.OpenFile(filepath.Join(d.log.folder, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		d.t.Fatal(err)
	}
}

func (d *logDir) want(what string, want int64) {
	d.t.Helper()
	if got, err := d.tail.read(d.log); err != nil || got != want {
		d.t.Errorf("%s: counted %d, want %d (%v)", what, got, want, err)
	}
}

func TestALogIsCountedOnceWhateverItsRotation(t *testing.T) {
	d := newLogDir(t)
	d.add("mon.log", strings.Repeat(cancelledLine, 3))
	d.want("what was there before", 0)
	d.want("nothing new", 0)
	d.add("mon.log", "12:01 [2] LOG:  checkpoint\n"+cancelledLine+cancelledLine[:20])
	d.want("a line, and the beginning of one", 1)
	d.add("mon.log", cancelledLine[20:])
	d.want("its end", 1)

	d.add("mon.log", cancelledLine)
	d.add("tue.log", cancelledLine)
	d.add("wed.log", cancelledLine+cancelledLine)
	d.want("two rotations between two readings", 4)
	d.want("nothing new after them", 0)

	if err := os.Rename(filepath.Join(d.log.folder, "wed.log"), filepath.Join(d.log.folder, "wed.log.1")); err != nil {
		t.Fatal(err)
	}
	d.add("wed.log", cancelledLine)
	d.want("renamed by logrotate, and begun anew", 1)
	if err := os.Truncate(filepath.Join(d.log.folder, "mon.log"), 0); err != nil {
		t.Fatal(err)
	}
	d.add("mon.log", cancelledLine)
	d.want("truncated, and used again", 1)
	if err := os.Remove(filepath.Join(d.log.folder, "tue.log")); err != nil {
		t.Fatal(err)
	}
	d.want("removed", 0)

	d.add("wed.csv", `x,WARNING,01000,"canceling wait for synchronous replication due to user request",`+"\n")
	d.want("the same line in the other form", 0)
	d.log.format = logCSV
	d.want("another form from now on", 0)
}

func TestALogThatCannotBeReadIsNoZero(t *testing.T) {
	d := newLogDir(t)
	d.want("at first", 0)
	d.log.folder = filepath.Join(d.log.folder, "gone")
	if n, err := d.tail.read(d.log); err == nil {
		t.Errorf("counted %d in a folder that is gone", n)
	}
}

func TestMoreThanOneReadingHoldsIsReadByTheNext(t *testing.T) {
	d := newLogDir(t)
	d.add("a.log", "")
	d.want("at first", 0)
	rows := int64(tailMost/len(cancelledLine)) + 1000
	d.add("a.log", strings.Repeat(cancelledLine, int(rows)))
	first, err := d.tail.read(d.log)
	if err != nil || first == 0 || first >= rows {
		t.Errorf("the first reading counts %d of %d (%v)", first, rows, err)
	}
	d.want("the next", rows-first)
}

func TestStandardErrorIsReadWhereItIsAFile(t *testing.T) {
	d := newLogDir(t)
	d.add("server.log", cancelledLine)
	log := foundLog{format: logStderr, file: filepath.Join(d.log.folder, "server.log"), as: d.log.as}
	var tail logTail
	for _, want := range []int64{0, 1} {
		if got, err := tail.read(log); err != nil || got != want {
			t.Errorf("counted %d, want %d (%v)", got, want, err)
		}
		d.add("server.log", cancelledLine)
	}
	log.file = d.log.folder // what is no file has nothing to read
	if _, err := tail.read(log); err == nil {
		t.Error("read what is no file")
	}
}

func TestTheLogIsFoundWhereTheCollectorSays(t *testing.T) {
	s := bare(t)
	if _, err := s.findLog(0); err == nil {
		t.Error("a log was found without a server")
	}
	s.put(t, "current_logfiles", "stderr log/a.log\ncsvlog log/a.csv\n")
	if found, err := s.findLog(0); err != nil || found.format != logCSV || found.folder != s.data("log") {
		t.Errorf("found %+v (%v), want the structured one", found, err)
	}
	s.put(t, "current_logfiles", "stderr /var/log/pg/a.log\n")
	if found, err := s.findLog(0); err != nil || found.format != logStderr || found.folder != "/var/log/pg" {
		t.Errorf("found %+v (%v)", found, err)
	}
	s.put(t, "current_logfiles", "")
	if _, err := s.findLog(0); err == nil {
		t.Error("a log was found in an empty current_logfiles")
	}
}

func TestWhatASettingHidesIsUnknown(t *testing.T) {
	english := commitSetting{name: "lc_messages", value: "C"}
	for _, c := range []struct {
		name string
		all  commitSettings
		want string
	}{
		{"all is well", commitSettings{english, {name: "log_min_messages", value: "warning"}, {name: "log_destination", value: "stderr"}}, ""},
		{"nothing says the language", nil, "lc_messages is not set"},
		{"another language", commitSettings{{name: "lc_messages", value: "de_DE.UTF-8"}}, `lc_messages "de_DE.UTF-8"`},
		{"British English", commitSettings{{name: "lc_messages", value: "en_GB.utf8"}}, ""},
		{"a role of another language", commitSettings{english, {role: "app", name: "lc_messages", value: "fr_FR"}}, "role app has lc_messages"},
		{"a role's language is not the server's", commitSettings{{role: "app", name: "lc_messages", value: "C"}}, "lc_messages is not set"},
		{"warnings are not logged", commitSettings{english, {name: "log_min_messages", value: "ERROR"}}, "log_min_messages ERROR"},
		{"a database whose warnings are not", commitSettings{english, {database: "db", name: "log_min_messages", value: "panic"}}, "database db"},
		{"the log goes elsewhere", commitSettings{english, {name: "log_destination", value: "syslog"}}, "log_destination is syslog"},
		{"also elsewhere", commitSettings{english, {name: "log_destination", value: "syslog, csvlog"}}, ""},
	} {
		got := c.all.silent()
		if !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestWeakenedAreOnlyThoseWhoWaitForNobody(t *testing.T) {
	all := commitSettings{
		{name: "synchronous_commit", value: "on"}, {role: "a", name: "synchronous_commit", value: "OFF"}, {database: "d", name: "synchronous_commit", value: "local"},
		{role: "b", database: "d", name: "synchronous_commit", value: "false"}, {role: "c", name: "synchronous_commit", value: "remote_write"}, {role: "d", name: "lc_messages", value: "off"},
	}
	var got []string
	for _, w := range all.weakened() {
		got = append(got, w.String())
	}
	if text := strings.Join(got, "; "); text != "database d (local); role a (off); role b in database d (off)" {
		t.Errorf("weakened are %s", text)
	}
	if commitSettings(nil).weakened() == nil {
		t.Error("looked and found none must not be nil: that is unknown")
	}
}

func TestTheServersOwnLevelIsWhatItsFilesSay(t *testing.T) {
	others := commitSettings{{role: "a", name: "synchronous_commit", value: "off"}, {database: "d", name: "synchronous_commit", value: "local"}, {name: "lc_messages", value: "C"}}
	if got := others.level(); got != "on" {
		t.Errorf("without a setting of its own it is %q", got)
	}
	if got := append(others, commitSetting{name: "synchronous_commit", value: "remote_apply"}).level(); got != "remote_apply" {
		t.Errorf("it is %q", got)
	}
}

func TestAReadingThatHangsMakesWhatWasKnownUnknown(t *testing.T) {
	s := bare(t)
	s.commits.Lock() // a reading that does not come back
	s.WatchSyncCommit(t.Context(), true)
	if told := s.syncCommit.Load(); told == nil || told.WeakenedUnknown == "" || told.CancelledUnknown == "" {
		t.Errorf("told is %+v", told)
	}
}
