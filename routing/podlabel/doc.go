// Package podlabel keeps the label `role` of one Kubernetes pod at what the agent beside it says, so that services can
// select the primary and the replicas.
//
// It promises that the label is primary or replica only while the agent's own health check for that role answers 200, as
// last asked; that it is gone when the agent answers neither or nothing; and that a label changed by somebody else is put
// back within Again. It asks the API server for nothing but its own pod's labels.
//
// It does not promise that the label follows in time to keep writes from an old primary: kube-proxy lags behind any label,
// and connections outlive it. That is the lease's work.
package podlabel
