//go:build integration

package integration

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/test/testbed"
	"github.com/pgkeeper/pgkeeper/test/testbed/bedtest"
)

// section is a part of a node's configuration.
func section(config map[string]any, names ...string) map[string]any {
	for _, name := range names {
		config = config[name].(map[string]any)
	}
	return config
}

// ends wants the agent to end with the code, and its last word to hold all words
// in one line, without a stack trace.
func ends(b *bedtest.Bed, n *testbed.Node, code int, words ...string) {
	b.T().Helper()
	got, err := n.Exit(time.Minute)
	b.Must(err)
	if got != code {
		b.T().Errorf("exit code %d, want %d", got, code)
	}
	says(b, n, 1, words...)
}

// says wants exactly so many lines with the words in the node's log.
func says(b *bedtest.Bed, n *testbed.Node, lines int, words ...string) {
	b.T().Helper()
	log := n.Log()
	if got := count(log, words...); got != lines {
		b.T().Errorf("%d lines say %q, want %d:\n%s", got, words, lines, log)
	}
	if strings.Contains(log, "goroutine ") {
		b.T().Errorf("a stack trace:\n%s", log)
	}
}

func TestAnAgentThatCannotRunSaysWhyInOneLineAndExits(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, n *testbed.Node, config map[string]any)
		words []string
	}{
		"missing binaries": {func(_ *testing.T, _ *testbed.Node, config map[string]any) {
			section(config, "postgresql")["bin_dir"] = "/nowhere/bin"
		}, []string{"Error:", "/nowhere/bin"}},
		"REST port in use": {func(t *testing.T, n *testbed.Node, _ map[string]any) {
			occupy(t, n.APIPort)
		}, []string{"Error:", "address already in use"}},
		"no data directory": {func(_ *testing.T, _ *testbed.Node, config map[string]any) {
			delete(section(config, "postgresql"), "data_dir")
		}, []string{"error:", "postgresql.data_dir"}},
		"impossible timing": {func(_ *testing.T, _ *testbed.Node, config map[string]any) {
			section(config, "bootstrap", "dcs")["ttl"] = "soon"
		}, []string{"error:", "bootstrap.dcs.ttl", "soon"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := bedtest.New(t, testbed.Options{Nodes: 1, Unstarted: true})
			n := b.Nodes[0]
			b.Must(n.Reconfigure(func(config map[string]any) { c.spoil(t, n, config) }))
			b.Must(n.Start())
			ends(b, n, 1, c.words...)
		})
	}
}

// occupy listens on a port until the test ends.
func occupy(t *testing.T, port int) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", fmtInt(port)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
}

func TestASecondAgentOfOneMemberIsRefused(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{Nodes: 1})
	first := b.Nodes[0]
	o := b.Observe()
	o.Fault()

	r, err := b.Run(t.Context(), "", "agent", "--config", first.ConfigPath())
	b.Must(err)
	if r.Code != 1 || !strings.Contains(r.LastLine(), "an agent for this member is running") {
		t.Errorf("the same member on the same node: %v", r)
	}

	other, err := b.Add("pg2")
	b.Must(err)
	b.Must(other.Reconfigure(func(config map[string]any) { config["name"] = first.Name }))
	b.Must(other.Start())
	ends(b, other, 1, "Error:", "another agent named pg1 runs")
	o.NothingFailed()
	o.End(first, 0)
}

func TestAnAgentWaitsForAnEtcdThatIsNotThereYet(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{Nodes: 1, Unstarted: true})
	n := b.Nodes[0]
	n.CutEtcd()
	b.Must(n.Start())
	b.WaitStatus(n, 20*time.Second, "waiting for etcd", func(s testbed.Status) bool {
		return s.Keeper.Reason == "waiting_for_dcs" && strings.Contains(s.Keeper.Detail+s.Keeper.StoreError, "etcd")
	})
	b.Wait(5*time.Second, "the log to say so", func(ctx) string { // a moment later than it answers so
		if count(n.Log(), "decided", "reason=waiting_for_dcs") == 0 {
			return "it does not"
		}
		return ""
	})
	says(b, n, 1, "decided", "reason=waiting_for_dcs")
	n.HealEtcd()
	b.Healthy(30 * time.Second)
}

func TestWrongCredentialsForEtcdAreNamed(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{Nodes: 1, EtcdBinary: true, Unstarted: true, Configure: func(_ string, config map[string]any) {
		etcd := section(config, "etcd3")
		etcd["username"], etcd["password"] = "root", "guess"
	}})
	client, err := b.Etcd.Client(t.Context())
	b.Must(err)
	defer client.Close()
	for _, step := range []func() error{
		func() error { _, err := client.UserAdd(t.Context(), "root", "correct"); return err },
		func() error { _, err := client.UserGrantRole(t.Context(), "root", "root"); return err },
		func() error { _, err := client.AuthEnable(t.Context()); return err },
	} {
		b.Must(step())
	}
	n := b.Nodes[0]
	b.Must(n.Start())
	b.WaitStatus(n, 20*time.Second, "refused by etcd", func(s testbed.Status) bool {
		return strings.Contains(s.Keeper.Detail+s.Keeper.StoreError, "authentication")
	})
	b.Must(n.Stop(time.Minute))

	b.Must(n.Reconfigure(func(config map[string]any) { section(config, "etcd3")["password"] = "correct" }))
	b.Must(n.Start())
	b.Must(n.Healthy(t.Context(), 30*time.Second, "/primary"))
}

func TestAWrongPasswordIsNamedAndHarmsNobody(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{Nodes: 2})
	primary := b.Healthy(10 * time.Second)
	o := b.Observe()
	o.Fault()
	joining, err := b.Add("pg9")
	b.Must(err)
	b.Must(joining.Reconfigure(func(config map[string]any) {
		section(config, "postgresql", "authentication", "replication")["password"] = "guess"
	}))
	b.Must(joining.Start())
	b.WaitStatus(joining, 20*time.Second, "told that its password is wrong", func(s testbed.Status) bool {
		return strings.Contains(s.Keeper.Detail, `password of role "replicator"`) && strings.Contains(s.Keeper.Detail, "postgresql.authentication.replication.password")
	})
	b.Must(joining.Reconfigure(func(config map[string]any) {
		section(config, "postgresql", "authentication", "replication")["password"] = "rep-secret"
	}))
	b.Must(joining.Stop(time.Minute))
	b.Must(joining.Start())
	b.Healthy(40 * time.Second)
	o.NothingFailed()
	o.End(primary, 0)
}

func TestAServerWhosePortIsTakenSaysSo(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{Nodes: 2})
	primary := b.Healthy(10 * time.Second)
	standby := b.Standby(primary)
	b.Must(standby.Stop(time.Minute))
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", fmtInt(standby.SQLPort)))
	b.Must(err)
	defer taken.Close()
	b.Must(standby.Start())
	b.WaitStatus(standby, 20*time.Second, "told that the port is taken", func(s testbed.Status) bool {
		return strings.Contains(s.Keeper.Detail+s.Keeper.ServerError, "port is in use")
	})
	b.Must(taken.Close())
	if again := b.Healthy(40 * time.Second); again != primary {
		t.Errorf("the primary is %s, want %s", again.Name, primary.Name)
	}
}

func TestAnEtcdThatWasSetBackIsRefused(t *testing.T) {
	t.Parallel()
	b := bedtest.New(t, testbed.Options{Nodes: 2, TTL: shortTTL})
	b.Etcd.Stop()
	b.Must(b.Etcd.Save(t.Context()))
	b.Must(b.Etcd.Start(t.Context()))
	first := b.Healthy(30 * time.Second) // the lease may have run out meanwhile

	// What the restored store does not know: a term that the nodes have persisted.
	b.Ctl("switchover", "--force")
	second := b.Healthy(30 * time.Second)
	if second == first {
		t.Fatalf("%s leads still", first.Name)
	}
	for _, n := range b.Nodes {
		b.Must(n.KillAll())
	}
	b.Etcd.Stop()
	b.Must(b.Etcd.Restore(t.Context()))
	b.Must(b.Etcd.Start(t.Context()))
	b.Must(b.StartNodes())
	patience := time.NewTimer(3 * shortTTL)
	for _, n := range b.Nodes {
		b.WaitStatus(n, 20*time.Second, "refusing the store", func(s testbed.Status) bool {
			return strings.Contains(s.Keeper.Detail+s.Keeper.StoreError, "restored from a backup")
		})
	}
	<-patience.C
	for _, n := range b.Nodes {
		if n.Health(t.Context(), "/primary") == 200 || n.Exec(t.Context(), "create table t ()") == nil {
			t.Errorf("%s is writable under a store that was set back", n.Name)
		}
	}
}
