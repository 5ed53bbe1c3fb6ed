package ctl

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	// slotLimit is how much WAL a slot may keep before it is a finding.
	slotLimit = 1 << 30
	// clockLimit is how far two machines' clocks may differ.
	clockLimit = time.Second
)

// serverFindings judges what the servers say, each for itself and against the others.
func serverFindings(v Overview, servers map[string]server) []Finding {
	var found []Finding
	names := slices.Sorted(maps.Keys(servers))
	for _, name := range names {
		found = append(found, ofServer(v, name, servers[name])...)
	}
	var writable []string
	for _, name := range names {
		if !servers[name].Recovery {
			writable = append(writable, name)
		}
	}
	switch {
	case len(writable) > 1:
		found = append(found, Finding{SeverityError, "two_primaries", list(writable), "all of them are out of recovery at once",
			"look again in a moment, a failover may be under way; if it stays, stop the one that pgkeeper list does not show as leader"})
	case len(writable) == 1 && v.Leader != "" && writable[0] != v.Leader:
		found = append(found, Finding{SeverityError, "leader_is_no_primary", writable[0], "it is out of recovery, and the lease is held by " + v.Leader, "pgkeeper explain " + writable[0]})
	}
	return append(append(found, compared(v, names, servers)...), clocks(names, servers)...)
}

// ofServer is what one server alone shows.
func ofServer(v Overview, name string, s server) []Finding {
	var found []Finding
	add := func(severity, check, what, fix string) {
		found = append(found, Finding{severity, check, name, what, fix})
	}
	if free := s.MaxConnections - s.Reserved - s.Used; free < s.MaxConnections/10 {
		add(SeverityWarning, "connections_nearly_used", fmt.Sprintf("%d of %d connections are used", s.Used, s.MaxConnections), "a pooler (pgkeeper render pgbouncer), or max_connections by pgkeeper edit-config")
	}
	// Each other member streams, and each that is cloned takes two more.
	if need := len(v.Members) + 1; s.WALSenders < need {
		add(SeverityError, "few_wal_senders", fmt.Sprintf("max_wal_senders is %d: %d members and a clone under way need %d", s.WALSenders, len(v.Members), need), "pgkeeper edit-config -p max_wal_senders=10, then restart")
	}
	if need := len(v.Members); s.Slots < need {
		add(SeverityError, "few_replication_slots", fmt.Sprintf("max_replication_slots is %d: %d members and a clone under way need %d", s.Slots, len(v.Members), need), "pgkeeper edit-config -p max_replication_slots=10, then restart")
	}
	if s.Fsync != "on" || s.FullPages != "on" {
		add(SeverityError, "fsync_off", "fsync is "+s.Fsync+", full_page_writes "+s.FullPages+": a power cut leaves a broken copy", "pgkeeper edit-config -p fsync=on -p full_page_writes=on")
	}
	if ours := slices.ContainsFunc(v.Members, func(m Member) bool { return m.Name == name && m.Keeper }); s.Recovery && s.CrashRestart == "on" && ours && !v.Paused {
		add(SeverityWarning, "standby_recovers_by_itself", "restart_after_crash is on, on a standby: if a process crashes in the middle of a promotion, the server goes on as a primary of the timeline it was to leave",
			"alter system reset restart_after_crash; select pg_reload_conf() there; an agent of an older version leaves it on")
	}
	if s.Encryption == "md5" {
		add(SeverityWarning, "passwords_md5", "password_encryption is md5", "scram-sha-256, and set the passwords again")
	}
	archiving := s.ArchiveMode == "always" || s.ArchiveMode == "on" && !s.Recovery
	switch {
	case archiving && (s.ArchiveCommand == "" || s.ArchiveCommand == "(disabled)") && s.ArchiveLibrary == "":
		add(SeverityError, "archive_nowhere", "archive_mode is "+s.ArchiveMode+" and nothing archives: WAL is kept for ever", "set archive_command, or archive_mode=off")
	case archiving && s.ArchiveFailed:
		add(SeverityError, "archive_fails", "archiving "+s.ArchiveBehind+" failed, and nothing was archived since: WAL is kept until the disk is full", "the server's log has the command's words")
	}
	return append(found, slotsOf(v, name, s)...)
}

func slotsOf(v Overview, name string, s server) []Finding {
	var found []Finding
	for _, slot := range s.SlotList {
		where := name + ", slot " + slot.Name
		switch {
		case slot.Status == "lost" || slot.Status == "unreserved":
			found = append(found, Finding{SeverityError, "slot_lost", where, "the WAL it needs is " + map[string]string{"lost": "gone", "unreserved": "about to go"}[slot.Status],
				"its consumer must be made anew (pgkeeper reinit for a member); raise max_slot_wal_keep_size"})
		case !slot.Active && slot.Kept > slotLimit:
			found = append(found, Finding{SeverityWarning, "slot_retains_wal", where, "nobody reads it, and it keeps " + Bytes(uint64(slot.Kept)) + " of WAL",
				"bring its consumer back, or drop it: select pg_drop_replication_slot('" + slot.Name + "'); a gone member's goes with pgkeeper remove " + v.Scope + " MEMBER"})
		}
	}
	return found
}

// compared finds standbys that could not take over as they are set.
func compared(v Overview, names []string, servers map[string]server) []Finding {
	primary, known := servers[v.Leader]
	if !known {
		return nil
	}
	var found []Finding
	for _, name := range names {
		if s := servers[name]; s.Recovery && s.MaxConnections < primary.MaxConnections {
			found = append(found, Finding{SeverityError, "standby_below_primary", name,
				fmt.Sprintf("max_connections is %d, the primary's %d: replay stops at the next change there, and it would take fewer clients", s.MaxConnections, primary.MaxConnections),
				"pgkeeper restart " + v.Scope + " " + name})
		}
	}
	return found
}

// clocks compares the machines with each other: all by this machine's clock, so that its own error cancels out.
func clocks(names []string, servers map[string]server) []Finding {
	var slowest, fastest string
	for _, name := range names {
		if slowest == "" || servers[name].ahead < servers[slowest].ahead {
			slowest = name
		}
		if fastest == "" || servers[name].ahead > servers[fastest].ahead {
			fastest = name
		}
	}
	if slowest == fastest {
		return nil
	}
	apart := servers[fastest].ahead - servers[slowest].ahead
	if apart-servers[fastest].error-servers[slowest].error < clockLimit {
		return nil
	}
	return []Finding{{SeverityWarning, "clocks_apart", strings.Join([]string{slowest, fastest}, ", "),
		fmt.Sprintf("their clocks are %s apart: the lease does not depend on them, but logs, lag in time and certificates do", apart.Round(100*time.Millisecond)), "run chrony or systemd-timesyncd on all machines"}}
}
