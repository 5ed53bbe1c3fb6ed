package etcd

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/status"

	"github.com/pgkeeper/pgkeeper/cluster"
	"github.com/pgkeeper/pgkeeper/dcs"
)

// evidence is what a verdict rests on. A zero time of day is no clock.
type evidence struct {
	wall    time.Time
	failed  error
	median  time.Duration
	slow    bool
	terms   uint64 // of the last minutes
	elected int64  // ever
	refused map[string]string
	client  time.Time

	endpoints []string
	probes    map[string]probe
}

// troubles are all that the evidence shows, sorted.
func (e evidence) troubles() []cluster.StoreTrouble {
	var found []cluster.StoreTrouble
	add := func(t cluster.StoreTrouble) {
		if !slices.ContainsFunc(found, t.Same) {
			found = append(found, t)
		}
	}
	for _, endpoint := range e.endpoints {
		p, asked := e.probes[endpoint]
		switch {
		case !asked || e.failed != nil:
		case p.err != nil:
			add(unanswered(endpoint, p.err))
		default:
			for _, t := range e.ofMember(endpoint, p) {
				add(t)
			}
		}
	}
	for _, t := range e.ofClient() {
		add(t)
	}
	slices.SortStableFunc(found, func(a, b cluster.StoreTrouble) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Endpoint, b.Endpoint), cmp.Compare(a.Member, b.Member))
	})
	return found
}

// unanswered is a member that did not say how it does, and why.
func unanswered(endpoint string, err error) cluster.StoreTrouble {
	text := status.Convert(err).Message()
	t := cluster.StoreTrouble{Kind: cluster.StoreUnreachable, Endpoint: endpoint, Detail: "the member does not answer (" + text + ")",
		Advice: "start it, or mend the network to it; a member that is gone for good is replaced with etcdctl member remove and add, and its address in etcd3.hosts"}
	switch {
	case strings.Contains(text, "x509:"), strings.Contains(text, "tls:"):
		t.Kind, t.Detail = cluster.StoreCertificate, "the member and this agent do not accept each other's certificates ("+text+")"
		t.Advice = "renew the certificate that is named, or correct etcd3.cacert, etcd3.cert and etcd3.key"
	case errors.Is(sentinel(err, dcs.ErrUnavailable), dcs.ErrDenied):
		t.Kind, t.Detail, t.Advice = cluster.StoreDenied, "the member refuses the user ("+text+")", adviceDenied
	}
	return t
}

const adviceDenied = "check etcd3.username and etcd3.password, and in etcd (etcdctl user get, etcdctl role get) that the user may read and write the cluster's folder"

// ofMember is what a member that answered tells of itself and of etcd.
func (e evidence) ofMember(endpoint string, p probe) []cluster.StoreTrouble {
	var found []cluster.StoreTrouble
	for _, text := range p.errors {
		found = append(found, e.told(endpoint, p, text))
	}
	full := slices.ContainsFunc(found, func(t cluster.StoreTrouble) bool { return t.Kind == cluster.StoreNoSpace })
	if !full && p.quota > 0 && p.size >= p.quota/10*8 {
		found = append(found, cluster.StoreTrouble{Kind: cluster.StoreNearlyFull, Endpoint: endpoint, Member: hex(p.member),
			Detail: fmt.Sprintf("its database had %d MiB of at most %d MiB when this was first seen; full, etcd takes no more writes and the primary stops", p.size>>20, p.quota>>20),
			Advice: "have etcd compact by itself (--auto-compaction-retention), run etcdctl defrag, or raise --quota-backend-bytes"})
	}
	if ends, near := e.near(p.certificate); near {
		found = append(found, cluster.StoreTrouble{Kind: cluster.StoreCertificate, Endpoint: endpoint, Member: hex(p.member), Detail: "the member's certificate " + ends,
			Advice: "renew it: etcd reads its certificate files anew for each connection"})
	}
	return found
}

// alarmLine is one line of a member's status. It is a message of protobuf in words, which
// vary their spaces on purpose.
var alarmLine = regexp.MustCompile(`^\s*memberID:\s*(\d+)\s+alarm:\s*(\w+)\s*$`)

// told reads one line of a member's status: an alarm, or that it knows no leader.
func (e evidence) told(endpoint string, p probe, text string) cluster.StoreTrouble {
	line := alarmLine.FindStringSubmatch(text)
	switch {
	case strings.Contains(text, "no leader"):
		return cluster.StoreTrouble{Kind: cluster.StoreNoLeader, Endpoint: endpoint, Member: hex(p.member), Detail: "the member knows no leader: it has lost touch with most of the others",
			Advice: "start the members that are down, or mend the network between them: a majority must be up"}
	case line == nil:
		return cluster.StoreTrouble{Kind: cluster.StoreAlarm, Endpoint: endpoint, Member: hex(p.member), Detail: "it reports: " + text,
			Advice: "see etcdctl endpoint status and the member's log"}
	}
	alarm := line[2]
	number, _ := strconv.ParseUint(line[1], 10, 64) // digits only; one too great is nobody's
	t := cluster.StoreTrouble{Kind: cluster.StoreAlarm, Endpoint: e.endpointOf(number), Member: hex(number), Detail: "alarm " + alarm,
		Advice: "see etcdctl alarm list and the member's log"}
	switch alarm {
	case "NOSPACE":
		t.Kind, t.Detail = cluster.StoreNoSpace, "the database is full (alarm NOSPACE): etcd takes no write from anybody, so no lease can be renewed"
		t.Advice = "etcdctl compact (the newest revision), etcdctl defrag on every member, raise --quota-backend-bytes if it is small, then etcdctl alarm disarm"
	case "CORRUPT":
		t.Kind, t.Detail = cluster.StoreCorrupt, "the member's data differs from the others' (alarm CORRUPT)"
		t.Advice = "stop it, remove it (etcdctl member remove), and add it anew with an empty data directory; then etcdctl alarm disarm"
	}
	return t
}

// endpointOf is where the member of that id answers; empty when none has been asked.
func (e evidence) endpointOf(member uint64) string {
	for _, endpoint := range e.endpoints {
		if p, asked := e.probes[endpoint]; asked && p.err == nil && p.member == member {
			return endpoint
		}
	}
	return ""
}

// ofClient is what the client noticed along the way.
func (e evidence) ofClient() []cluster.StoreTrouble {
	var found []cluster.StoreTrouble
	all := strings.Join(e.endpoints, ", ")
	for _, op := range slices.Sorted(maps.Keys(e.refused)) {
		found = append(found, cluster.StoreTrouble{Kind: cluster.StoreDenied, Endpoint: all, Detail: e.refused[op], Advice: adviceDenied})
	}
	if e.failed != nil {
		found = append(found, unanswered(all, e.failed))
	}
	if e.slow {
		found = append(found, cluster.StoreTrouble{Kind: cluster.StoreSlowWrites, Endpoint: all,
			Detail: fmt.Sprintf("the median of this agent's own last writes was %s when this began, of which %s is the way to a member: the rest is the leader's and a majority's disk (fsync) and the network between members", rounded(e.median), e.way()),
			Advice: "give etcd a disk of its own, and look for who else writes to it: etcd_disk_wal_fsync_duration_seconds at each member's /metrics tells which"})
	}
	if e.terms >= flappingTerms {
		found = append(found, cluster.StoreTrouble{Kind: cluster.StoreFlapping, Endpoint: all,
			Detail: fmt.Sprintf("etcd went through %d terms within %d minutes: members lose touch with their leader again and again", e.terms, int(flappingAge.Minutes())),
			Advice: "look at the members' disks and at the network between them; if they are merely far from each other, raise etcd's --heartbeat-interval and --election-timeout"})
	}
	if ends, near := e.near(e.client); near {
		found = append(found, cluster.StoreTrouble{Kind: cluster.StoreCertificate, Detail: "this agent's certificate for etcd (etcd3.cert) " + ends,
			Advice: "renew it: the agent reads the file anew for each connection"})
	}
	return found
}

// way is the shortest a member took to answer from memory.
func (e evidence) way() string {
	shortest := time.Duration(-1)
	for _, p := range e.probes {
		if p.err == nil && (shortest < 0 || p.took < shortest) {
			shortest = p.took
		}
	}
	if shortest < 0 {
		return "an unknown part"
	}
	return rounded(shortest)
}

// near reports whether a certificate ends soon, or has ended, and when, in words.
func (e evidence) near(ends time.Time) (words string, near bool) {
	if ends.IsZero() || e.wall.IsZero() || ends.Sub(e.wall) > certificateWarning {
		return "", false
	}
	verb := "ends on "
	if ends.Before(e.wall) {
		verb = "ended on "
	}
	return verb + ends.UTC().Format("2006-01-02 15:04 UTC"), true
}

// firstEnd is when the first certificate ends, in Unix time; 0 without any.
func (e evidence) firstEnd() int64 {
	var first time.Time
	for _, p := range e.probes {
		if !p.certificate.IsZero() && (first.IsZero() || p.certificate.Before(first)) {
			first = p.certificate
		}
	}
	if !e.client.IsZero() && (first.IsZero() || e.client.Before(first)) {
		first = e.client
	}
	if first.IsZero() {
		return 0
	}
	return first.Unix()
}

func rounded(d time.Duration) string {
	if d < time.Millisecond {
		return "less than 1ms"
	}
	return d.Round(time.Millisecond).String()
}

// hex is a member's id as etcdctl prints it.
func hex(id uint64) string { return strconv.FormatUint(id, 16) }
