// Package integration holds the tests that run real clusters: real PostgreSQL,
// real etcd, real processes, one file for each kind of fault or verb. They are
// behind the build tag integration.
package integration
