package pgfake

import "github.com/pgkeeper/pgkeeper/cluster"

// archiver is archive_command of one server, to one archive for all of them.
type archiver struct {
	on, hangs bool
	// done is how far everything was archived; failed that the archive refused a
	// file, because it has another one of that name (trap 13).
	done   cluster.LSN
	failed bool
}

// archived is one file of the archive.
type archived struct {
	timeline cluster.Timeline
	begin    cluster.LSN
	log      *branch
}

// Archive switches archiving on or off. One that hangs never returns.
func (s *Server) Archive(now cluster.Instant, on, hangs bool) {
	s.site.Advance(now)
	s.archiver.on, s.archiver.hangs = on, hangs
	if s.archiver.done == 0 {
		s.archiver.done = s.site.segment(s.dir.end)
	}
}

// ArchiveFailed reports whether the archive refused a file: what follows is not
// archived, and no WAL is removed.
func (s *Server) ArchiveFailed() bool { return s.archiver.failed }

// archiveUntil archives every complete segment of a primary.
func (s *Server) archiveUntil(cluster.Instant) {
	a, d := &s.archiver, &s.dir
	if !a.on || a.hangs || d.branch == nil || s.proc.mode != cluster.ModePrimary && s.proc.mode != cluster.ModeStopping {
		return
	}
	a.failed = false
	for a.done+s.site.Tuning.Segment <= d.end {
		end := a.done + s.site.Tuning.Segment
		if !s.site.accept(d.branch.reach(end), a.done, end) && !s.site.traps.NoArchiveClash {
			a.failed = true
			return
		}
		a.done = end
	}
}

// accept puts a segment into the archive; false when another history has one of
// that name there.
func (s *Site) accept(log *branch, begin, end cluster.LSN) bool {
	for _, f := range s.archive {
		if f.timeline == log.timeline && f.begin == begin {
			return f.log.leads(end, log) || log.leads(end, f.log)
		}
	}
	s.archive = append(s.archive, archived{log.timeline, begin, log})
	return true
}

// switchSegment ends the current WAL file, as a shutdown with archiving does.
func (d *directory) switchSegment(s *Server, now cluster.Instant) {
	if next := s.site.segment(d.end) + s.site.Tuning.Segment; d.end > s.site.segment(d.end) {
		s.append(now, next-d.end)
	}
}
