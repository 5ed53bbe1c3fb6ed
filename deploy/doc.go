// Package deploy holds what a user copies to run pgkeeper beside other software, and renders the parts that depend on
// the cluster's members.
//
// It promises that every file shipped here is what the templates produce for their documented defaults, and that a test
// runs each of them against the real program. It does not install, start or reload anything, and it knows nothing of a
// running cluster: who its members are comes in as parameters.
package deploy
