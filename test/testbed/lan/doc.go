// Package lan is the network of a testbed whose links can be cut: a host, which is a
// network namespace, for each node and each member of etcd, all on one bridge, on which the
// test has an address too. It is used by the chaos, and by the rows of the bench that cut a
// node off.
//
// It promises to leave nothing: everything is in network, mount, process and IPC
// namespaces that the kernel removes with the test's first process, however that ends. A
// program that uses it runs itself again in them (Stage). Making them needs root.
//
// It does not slow or lose packets: the chaos does that to a host, from outside.
package lan
