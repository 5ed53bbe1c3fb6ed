// Package pgrw tests the client library pgrw on real clusters: behind the build tag
// integration what a client must see under switchovers, kills and cut connections; in
// causal the program that make bench counts stale reads with.
//
// It is a module of its own because it needs both the product's testbed and the
// library, and neither of the two may need the other.
package pgrw
