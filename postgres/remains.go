package postgres

import (
	"errors"
	"strings"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// remains is what a tombstone says of the data directory. It lies beside the directory
// and knows nothing of what somebody has put there by hand since: the content does (S5).
type remains int

const (
	// remainsNone: there is no tombstone.
	remainsNone remains = iota
	// remainsDisposable: what an initdb or a clone has left, never a copy of anything.
	remainsDisposable
	// remainsUnclear: what an initdb has left that was killed before the identifier of its
	// cluster was known, or a copy put there since. It is moved aside, and not deleted.
	remainsUnclear
	// remainsDamaged: a copy that a rewind has begun to change, or what may be a copy.
	remainsDamaged
	// remainsReplaced: another copy, put there since. The tombstone stands for nothing.
	remainsReplaced
)

// content is what tells the remains of an initdb or a clone from another copy.
type content struct {
	// control: there is a pg_control; systemID is empty where it cannot be read.
	control  bool
	systemID string
	// backup: there is a backup_label; label is empty where it cannot be read.
	backup bool
	label  string
}

// remains judges. pg_basebackup writes backup_label first, which stays until the first
// start, and pg_control last; initdb writes pg_control before anything that is data. A
// file whose content did not survive a power cut proves nothing. An older pgkeeper wrote
// neither label nor identifier: then what has a pg_control may be a copy.
func (t *Tombstone) remains(c content) remains {
	filled := t.Kind == TombstoneInit || t.Kind == TombstoneClone
	switch {
	case filled && !c.control && !c.backup: // guard: no_copy_without_control — S5
		return remainsDisposable
	case t.Kind == TombstoneClone && t.Label != "" && c.label == t.Label: // guard: clone_known_by_label — S5
		return remainsDisposable
	case t.Kind == TombstoneInit && t.SystemID != "" && c.systemID == t.SystemID: // guard: initdb_known_by_identifier — S5
		return remainsDisposable
	case t.Kind == TombstoneInit && (t.SystemID == "" || c.systemID == ""): // guard: unnamed_initdb_is_unclear — S5
		return remainsUnclear
	case !filled, t.Kind == TombstoneClone && t.Label == "", c.systemID == "", c.backup && c.label == "": // guard: unproved_copy_is_damaged — S5
		return remainsDamaged
	}
	return remainsReplaced
}

// state is what a directory that is not empty counts as, found being what it looks like.
func (r remains) state(found cluster.DataDir) cluster.DataDir {
	switch r {
	case remainsDisposable, remainsUnclear:
		return cluster.DataTombstone
	case remainsDamaged:
		return cluster.DataDamaged
	}
	return found
}

// remains looks for a tombstone, and at what lies under it; grave is nil when there is none.
func (s *Server) remains() (grave *Tombstone, what remains, err error) {
	if grave, err = s.Tombstone(); err != nil || grave == nil {
		return nil, remainsNone, err
	}
	var c content
	err = s.owner.do(func() (err error) {
		c, err = s.content()
		return err
	})
	return grave, grave.remains(c), err
}

// settled is remains for somebody who is about to act on them: a tombstone that stands for
// nothing any more is removed, and grave is nil.
func (s *Server) settled() (grave *Tombstone, what remains, err error) {
	if grave, what, err = s.remains(); err != nil || what != remainsReplaced {
		return grave, what, err
	}
	s.o.Log.Warn("tombstone removed: another copy was put in the place of what the interrupted work had left",
		"action", grave.Kind, "since", grave.Since, "path", s.o.DataDir)
	return nil, remainsNone, s.unbury()
}

func (s *Server) content() (c content, err error) {
	if c.control, err = exists(s.data("global", "pg_control")); err != nil {
		return c, err
	}
	control, err := s.readControl()
	if err != nil && !errors.Is(err, ErrControl) {
		return c, err
	}
	c.systemID = control.SystemID
	c.label, c.backup, err = s.backupLabel()
	return c, err
}

// backupLabel reads the label of the backup that the directory was made from, until its
// first start.
func (s *Server) backupLabel() (label string, found bool, err error) {
	text, found, err := readOptional(s.data("backup_label"))
	for line := range strings.Lines(string(text)) {
		if rest, is := strings.CutPrefix(line, "LABEL: "); is {
			label = strings.TrimSuffix(rest, "\n")
		}
	}
	return label, found, err
}
