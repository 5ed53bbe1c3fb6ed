// Package certs reads certificates and keys from PEM files: keys with a password
// too, in the forms OpenSSL writes, and anew whenever a file has changed.
//
// It promises that a changed file which is no good leaves the last good one in
// force, and that no error repeats a password or what stands in a file. It does not
// watch: it looks when a connection is made.
package certs
