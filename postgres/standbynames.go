package postgres

import (
	"context"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// standbyNames is what a standby of a strict cluster has for names until it is told whom
// its commits will wait for: nobody is called so. A standby acknowledges nothing, so it
// means nothing there. But commits of it would wait from its start on, and a promotion does
// not have to wait for its checkpointer, which may be in a restart point.
const standbyNames = `FIRST 1 ("__pgkeeper_standby__")`

// syncContent is the file with these names.
func syncContent(names string) string {
	if names == "" {
		return ""
	}
	var b strings.Builder
	b.WriteString(confHeader)
	writeParameter(&b, "synchronous_standby_names", names)
	return b.String()
}

// placeNames gives the file of a standby names where it has none, and takes them from
// where they do not belong: a promotion without strict mode begins with none, and until the
// checkpointer has taken back that commits wait, they would. A running standby may have been
// told what its promotion rests on, so of one only our own names go. It runs with the
// owner's rights, while nobody else changes the configuration.
func (s *Server) placeNames(standby, running bool, settings *cluster.Settings) (changed bool, err error) {
	content, found, err := readOptional(s.conf(syncName))
	if err != nil {
		return false, err
	}
	has, placed := string(content), syncContent(standbyNames)
	strict := settings.Synchronous() && settings.SynchronousStrict
	want := has
	switch {
	case standby && strict && has == "":
		want = placed
	case has == placed && !(standby && strict), standby && !strict && !running:
		want = ""
	}
	if want == has && found {
		return false, nil
	}
	return s.forgetting(want == "", func() (bool, error) {
		return want != has, writeFile(s.conf(syncName), []byte(want), 0o600)
	})
}

// learnLimit bounds an attempt to learn of the flag; the next look begins another.
const learnLimit = 2 * time.Second

// learnFlag has the flag of a standby that shows names be known before a promotion asks: a
// worker that was just started knows nothing, nor does one that gave a running standby its
// names. It does not wait. In a pause nothing is sent to the server.
func (s *Server) learnFlag(row lookRow) {
	r := reader{row: row}
	if s.paused.Load() || !r.flag(colRecovery) || r.text(colSyncNames) == "" || s.flag.isOn(r.text(colStarted)) || !s.learning.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer s.learning.Store(false)
		ctx, cancel := context.WithTimeout(context.Background(), learnLimit)
		defer cancel()
		if err := s.learn(ctx); err != nil {
			s.o.Log.Debug("not known yet that commits would wait", "error", err.Error())
		}
	}()
}

func (s *Server) learn(ctx context.Context) error {
	began := s.flag.began()
	named := false
	err := s.files(func() (err error) { named, err = s.named(); return err })
	if err != nil || !named { // a look is older than what the files say
		return err
	}
	return s.checkpointerLearns(ctx, began)
}
