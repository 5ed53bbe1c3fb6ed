// Package render writes the configuration of what stands around a cluster: poolers, monitoring, and the ways to run its
// members (compose, swarm, Kubernetes, Terraform, systemd).
//
// It promises that the same parameters give the same bytes; that a value which could mean something else to the program
// that reads it is refused, with the reason, instead of being quoted cleverly; and that the files shipped under deploy/
// are what it renders for DefaultParams. Each kind is a folder of templates, so that adding a file is adding a template.
//
// It does not write files, reach a cluster, or start what it configures, and it knows no secrets: passwords are read from
// files or variables by whoever uses the result. HAProxy's configuration comes from package deploy.
package render
