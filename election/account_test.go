package election

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// TestAccountSaysWhatWouldHaveToChange in the words an operator reads.
func TestAccountSaysWhatWouldHaveToChange(t *testing.T) {
	beatAgo := func(d time.Duration) change { return func(o *Observation) { o.Beat.At = ago(d) } }
	cases := []struct {
		name            string
		given           Observation
		verdict         string
		promote, follow string
	}{
		{"a primary", primary(), "primary: it holds the lease under term 100 and its server accepts writes",
			"", "it holds the lease itself: pgkeeper switchover gives it to another"},
		{"a standby that streams", standby(lsn), "standby: it streams from b, 0 B behind the last published position",
			"b still holds the lease for 9.0 s, and longer if it renews: pgkeeper switchover --candidate a moves it here", ""},
		{"a standby far behind when nobody leads", vacant(lsn - 48<<20),
			"not a candidate: 48 MB behind, limit 1 MB (maximum_lag_on_failover): bring a member that has more, or accept the loss with pgkeeper failover --candidate a",
			"48 MB behind, limit 1 MB (maximum_lag_on_failover): bring a member that has more, or accept the loss with pgkeeper failover --candidate a",
			"somebody must lead, and nobody holds the lease"},
		{"the last holder may be alive", vacant(lsn, beatAgo(7900*time.Millisecond)), "waiting: b still holds the lease for 2.1 s",
			"b still holds the lease for 2.1 s", "somebody must lead, and nobody holds the lease"},
		{"the holder has fallen silent", standby(lsn, beatAgo(7900*time.Millisecond), func(o *Observation) { o.Node.Value.Receiver = nil }),
			"waiting: b still holds the lease for 2.1 s, and has not renewed it for 7.9 s", "b still holds the lease for 2.1 s, and longer if it renews", "it must receive WAL from b"},
		{"a primary that cannot renew", primary(func(o *Observation) { o.Lease.Renewed, o.Guard.Deadline = ago(7*time.Second), now.Add(2*time.Second) }),
			"primary: it holds the lease under term 100 and its server accepts writes; but it could not renew the lease for 7.0 s, and without that the server is stopped in 2.0 s",
			"", "it holds the lease itself"},
		{"etcd does not answer the winner", vacant(lsn, reports("c", lsn-8), func(o *Observation) { o.Lease.Busy = "acquire" }),
			"waiting: it is its turn, and etcd must answer its call for the lease; etcd was last seen 1.0 s ago", "etcd must answer its call for the lease", "somebody must lead"},
		{"tagged nofailover", vacant(lsn, func(o *Observation) { o.Self.Tags = cluster.Tags{"nofailover": true} }),
			"not a candidate: it is tagged nofailover (or failover_priority 0): take the tag off",
			"it is tagged nofailover (or failover_priority 0): take the tag off", "somebody must lead, and nobody holds the lease"},
		{"another member was primary in pause", vacant(lsn, mark("c")),
			"waiting: c was primary during the pause and must say that it is not any more: its agent runs, and does after the pause; only if it is dead for certain, pgkeeper failover --candidate a --force",
			"c was primary during the pause", "somebody must lead, and nobody holds the lease"},
		{"and its agent is gone", vacant(lsn, mark("c"), view(func(v *cluster.View) { delete(v.Members, "c") })),
			"waiting: c was primary during the pause and must say that it is not any more: start its agent; only if it is dead for certain, pgkeeper failover --candidate a --force",
			"c was primary during the pause", "somebody must lead, and nobody holds the lease"},
		{"etcd does not answer", standby(lsn, func(o *Observation) { o.View = o.View.Failed("no quorum", now) }),
			"standby: it streams from b, 0 B behind the last published position; but etcd does not answer, and without it nobody elects: no quorum", "etcd must answer: no quorum", ""},
		{"a primary whose etcd is gone", primary(func(o *Observation) { o.View = o.View.Failed("no quorum", now) }),
			"primary: it holds the lease under term 100 and its server accepts writes; but etcd does not answer, and without it the server is stopped in 8.9 s: no quorum",
			"", "it holds the lease itself: pgkeeper switchover gives it to another"},
		{"a primary that goes on by promises", primary(failsafe, storeless(12*time.Second), agreed(time.Second)), "primary: it holds the lease under term 100 and its server accepts writes; etcd does not answer, and it goes on by the promises of the members, for 8.0 s and longer while they renew them",
			"", "it holds the lease itself"},
		{"a member that has promised", vacant(lsn, func(o *Observation) { o.Self.Pledged = now.Add(3 * time.Second) }),
			"waiting: it has promised the primary, which cannot reach etcd, not to replace it, for 3.0 s more", "it has promised the primary", "somebody must lead"},
		{"a member that the last primary does not ask", vacant(lsn, failsafe, longVacant, view(func(v *cluster.View) { v.Failsafe = map[string]string{"b": urlOf("b")} })),
			"not a candidate: it is not in the list of failsafe members, so the last primary may go on without its promise: bring a member back that is", "it is not in the list", "somebody must lead"},
		{"a voter alone", vacant(lsn, ruled("quorum", cluster.Rule{Primary: "b", Voters: []string{"a", "c"}, Need: 1}), quiet, view(func(v *cluster.View) { delete(v.Members, "c") })),
			"waiting: 2 of the 3 copies that commits of b may rest on must have promised and said how far they are, and 1 have: bring up c, b",
			"2 of the 3 copies that commits of b may rest on must have promised", "somebody must lead"},
		{"who is not in a Patroni leader's list", vacant(lsn, sync("b", "c", 0)),
			"not a candidate: commits may rest on copies that the key sync names, and this member is none of them: bring one of c, b up", "commits may rest on copies", "somebody must lead"},
		{"a leader whose term was revoked", standby(lsn, func(o *Observation) { o.Self.Promised = term; o.Node.Value.Receiver = nil }),
			"the leader goes on under a term that this member has promised to take no WAL of (b leads under term 100, of which this member has promised to take no WAL: it must put its key again)", "b still holds the lease", "b must put its key again, under a new term"},
		{"a paused cluster", standby(lsn, inPause), "standby: it streams from b, 0 B behind the last published position", "the cluster is paused: pgkeeper resume", ""},
		{"a leader that is not ready", standby(lsn, who("b", func(m *cluster.Member) { m.State = cluster.StateStarting }), func(o *Observation) { o.Node.Value.Receiver = nil }),
			"this standby is pointed the right way but receives nothing, so its relation to the leader is looked into (no stream from b yet)",
			"b still holds the lease", "b must be a running primary; it says primary, starting"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := Decide(&c.given)
			e := Account(&c.given, d, ago(3*time.Second), now)
			if e.Verdict != c.verdict {
				t.Errorf("%s\nverdict %q\nwant    %q", d.Reason, e.Verdict, c.verdict)
			}
			for _, list := range []struct {
				what string
				got  []string
				want string
			}{{"promote", e.ToPromote, c.promote}, {"follow", e.ToFollow, c.follow}} {
				if first := strings.Join(list.got[:min(1, len(list.got))], ""); (list.want == "") != (first == "") || !strings.HasPrefix(first, list.want) {
					t.Errorf("to %s: %q, want %q first", list.what, list.got, list.want)
				}
			}
			if e.Reason != d.Reason || e.SinceMS != 3000 || e.Why == "" || e.Next == "" {
				t.Errorf("%+v", e)
			}
		})
	}
}

// TestAccountOfAnything: whatever is observed can be told, within bounds.
func TestAccountOfAnything(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 2))
	data := make([]byte, 160)
	for range 5000 {
		for i := range data {
			if data[i] = 0; random.IntN(3) > 0 {
				data[i] = byte(random.Uint32())
			}
		}
		bytes := choices(data)
		o := bytes.observation()
		d := Decide(&o)
		e := Account(&o, d, o.Now, o.Now.Add(time.Second))
		said := append(append([]string{e.Verdict, e.Why}, e.ToPromote...), e.ToFollow...)
		if slices.Contains(said, "") || len(said) > 20 || len(e.Observed) > 10 {
			t.Fatalf("%+v\nof %+v", e, o)
		}
		if (len(e.ToPromote) == 0) != leads(&o) && !mayTakeTheLease(d) {
			t.Fatalf("%s: nothing is lacking, and it is no primary: %+v", d.Reason, o)
		}
	}
}

// mayTakeTheLease: nothing is lacking, for it is about to happen, or a look or an
// answer is all that is awaited.
func mayTakeTheLease(d Decision) bool {
	return slices.ContainsFunc(d.Actions, callsStore) || d.Reason != ReasonFollowing
}

func TestFiguresForPeople(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1024: "1 kB", 48 << 20: "48 MB", 3 << 29: "1.5 GB", 1 << 63: "8 EB"} {
		if got := sizeOf(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{-time.Second: "0.0 s", 2100 * time.Millisecond: "2.1 s", 185 * time.Second: "3m5s", 26 * time.Hour: "26h0m"} {
		if got := lasting(d); got != want {
			t.Errorf("%d: %q, want %q", d, got, want)
		}
	}
}
