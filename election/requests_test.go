package election

import (
	"testing"
	"time"

	"github.com/pgkeeper/pgkeeper/cluster"
)

func requestRules() []rule {
	asks := func(kind cluster.RequestKind) (cluster.Request, change) {
		r := cluster.Request{ID: "r1", Member: "a", Kind: kind, ModRevision: 450}
		return r, func(o *Observation) { o.Wish.Request = &r }
	}
	restartReq, askRestart := asks(cluster.RequestRestart)
	reloadReq, askReload := asks(cluster.RequestReload)
	reinitReq, askReinit := asks(cluster.RequestReinitialize)
	oddReq, askOdd := asks("dance")
	b := Upstream{Member: "b", Host: "10.0.0.2", Port: "5432"}
	refusal := func(r cluster.Request, why string) []Action {
		return acts(Answer{r, cluster.Result{ID: "r1", Member: "a", Refused: true, Message: why}})
	}
	scheduled := func(o *Observation) { o.Wish.RestartDue = true }
	return []rule{
		{name: "a reload is done and answered",
			given: standby(lsn, askReload), reason: ReasonReloading,
			do: acts(Reload{}, Answer{reloadReq, cluster.Result{ID: "r1", Member: "a", Done: true, Accepted: true, Message: "reload scheduled"}})},
		{name: "a standby restarts as a standby of the same upstream",
			given: standby(lsn, askRestart), reason: ReasonRestarting, do: acts(Restart{Request: &restartReq, Upstream: &b})},
		{name: "a primary restarts as a primary",
			given: primary(askRestart), reason: ReasonRestarting, do: acts(Restart{Request: &restartReq, Writable: true})},
		{name: "a restart by name is the operator's own act, in pause too",
			given: primary(inPause, mark("a"), askRestart), reason: ReasonRestarting, do: acts(Restart{Request: &restartReq, Writable: true})},
		{name: "but not of a primary that could not be started again: it has no lease",
			given: primary(inPause, mark("a"), askRestart, func(o *Observation) { o.Lease = Lease{} }, view(func(v *cluster.View) { v.Leader = nil })), reason: ReasonRequestRefuse,
			do: refusal(restartReq, "this primary has no lease, without which it could not be started again: ask again when it has, or resume the cluster")},
		{name: "or it has ended",
			given: primary(inPause, mark("a"), askRestart, func(o *Observation) { o.Lease.Renewed = ago(time.Hour) }, view(func(v *cluster.View) { v.Leader.Name = "b" })), reason: ReasonRequestRefuse,
			do: refusal(restartReq, "this primary has no lease, without which it could not be started again: ask again when it has, or resume the cluster")},
		{name: "a server that does not run cannot be restarted",
			given: cold("b", askRestart), reason: ReasonRequestRefuse, do: refusal(restartReq, "the server is stopped, not running")},
		{name: "nothing is restarted in the middle of a switchover",
			given:  standby(lsn, askRestart, switchover("b", "a", cluster.SwitchoverPreparing)),
			reason: ReasonRequestRefuse, do: refusal(restartReq, "a switchover is in progress")},
		{name: "an aborted switchover is over",
			given:  standby(lsn, askRestart, switchover("b", "a", cluster.SwitchoverAborted)),
			reason: ReasonRestarting, do: acts(Restart{Request: &restartReq, Upstream: &b})},
		{name: "a scheduled restart that has come due is done",
			given: standby(lsn, scheduled), reason: ReasonRestarting, do: acts(Restart{Upstream: &b})},
		{name: "a scheduled restart waits for the end of a pause",
			given: standby(lsn, scheduled, inPause), reason: ReasonPaused},
		{name: "a request waits for the running job",
			given: standby(lsn, askRestart, running(JobRejoin)), reason: reasonOfJob(JobRejoin)},
		{name: "a request of a kind that is not known is refused",
			given: standby(lsn, askOdd), reason: ReasonRequestRefuse,
			do: refusal(oddReq, "this member does not know the request dance: it may run an older version")},
		{name: "a standby is built anew from the leader",
			given: standby(lsn, askReinit), reason: ReasonReinitialize,
			do: acts(Clone{Source: b}, Answer{reinitReq, cluster.Result{ID: "r1", Member: "a", Accepted: true, Done: true, Message: "reinitialize started"}})},
		{name: "the leader is not built anew",
			given: primary(askReinit), reason: ReasonRequestRefuse, do: refusal(reinitReq, "I am the leader, can not reinitialize")},
		{name: "without a leader nobody is built anew",
			given: vacant(lsn, askReinit), reason: ReasonRequestRefuse, do: refusal(reinitReq, "Cluster has no leader, can not reinitialize")},
		{name: "nobody is built anew from a leader that is no running primary",
			given:  standby(lsn, askReinit, who("b", func(m *cluster.Member) { m.State = cluster.StateStarting })),
			reason: ReasonRequestRefuse, do: refusal(reinitReq, "the leader is not a running primary, can not reinitialize")},
		{name: "the candidate of a switchover is not built anew",
			given:  standby(lsn, askReinit, switchover("b", "a", cluster.SwitchoverStopping)),
			reason: ReasonRequestRefuse, do: refusal(reinitReq, "a switchover is in progress")},
		{name: "a request is no reason to touch what a lost lease stops first",
			given:  primary(askRestart, func(o *Observation) { o.Lease.Renewed = ago(time.Minute) }),
			reason: ReasonDeadlinePassed, do: acts(LoseLease{})},
	}
}

func TestRequests(t *testing.T) { check(t, requestRules()) }
