package postgres

import (
	"os"
	"sync/atomic"
	"testing"

	"github.com/pgkeeper/pgkeeper/cluster"
)

func TestAStandbyOfAStrictClusterHasNames(t *testing.T) {
	const told = `ANY 1 ("b")`
	for _, c := range []struct {
		what                     string
		standby, running, strict bool
		has, want                string
	}{
		{"a standby that starts", true, false, true, "", standbyNames},
		{"one that runs when the mode is switched on", true, true, true, "", standbyNames},
		{"one that was primary", true, false, true, told, told},
		{"one that was told ahead of its promotion", true, true, true, told, told},
		{"one that has them", true, true, true, standbyNames, standbyNames},
		{"a primary", false, true, true, "", ""},
		{"a primary with its rule", false, false, true, told, told},
		{"a standby that is started as a primary", false, false, true, standbyNames, ""},
		{"a standby that starts without strict mode", true, false, false, "", ""},
		{"one of another time, which would keep commits waiting after a promotion", true, false, false, told, ""},
		{"one that was told ahead, while the mode was changed", true, true, false, told, told},
		{"strict mode is switched off", true, true, false, standbyNames, ""},
	} {
		s := bare(t)
		s.put(t, syncName, syncContent(c.has))
		settings := cluster.DefaultSettings()
		settings.SynchronousMode, settings.SynchronousStrict = cluster.SyncQuorum, c.strict
		s.flag.proved("1", s.flag.began())
		changed, err := s.placeNames(c.standby, c.running, &settings)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(s.conf(syncName))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != syncContent(c.want) || changed != (c.has != c.want) {
			t.Errorf("%s: changed %t, the file is\n%s", c.what, changed, got)
		}
		if emptied := c.has != "" && c.want == ""; emptied && s.flag.isOn("1") {
			t.Errorf("%s: the flag counts as on although names were emptied", c.what)
		}
	}
}

func TestTheFileOfNamesIsThereFromTheBeginning(t *testing.T) {
	s := bare(t)
	if err := os.MkdirAll(s.o.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	settings := cluster.DefaultSettings()
	if changed, err := s.placeNames(false, false, &settings); changed || err != nil {
		t.Errorf("changed %t, %v", changed, err)
	}
	if got, err := os.ReadFile(s.conf(syncName)); err != nil || len(got) > 0 { // or every process of the server says that it is missing
		t.Errorf("%q, %v", got, err)
	}
}

func TestTheFlagOfAStandbyIsLearnt(t *testing.T) {
	var event atomic.Value
	event.Store("CheckpointerMain")
	s := serverOf(t, &event)
	look := make(lookRow, colCheckpointer+1)
	put := func(column int, text string) { look[column] = &text }
	put(colRecovery, "t")
	put(colSyncNames, standbyNames)
	put(colStarted, "born")
	s.put(t, syncName, "")
	if err := s.learn(limited(t)); err != nil || s.flag.isOn("born") {
		t.Errorf("names were emptied since the look: %v, on %t", err, s.flag.isOn("born"))
	}
	s.put(t, syncName, syncContent(standbyNames))
	s.paused.Store(true)
	s.learnFlag(look)
	put(colRecovery, "f")
	s.paused.Store(false)
	s.learnFlag(look)
	if s.learning.Load() {
		t.Error("asked in a pause, or of a primary")
	}
	put(colRecovery, "t")
	s.learnFlag(look)
	for range 2000 {
		if s.flag.isOn("born") {
			return
		}
		pause(t.Context(), syncEvery)
	}
	t.Error("not learnt")
}
