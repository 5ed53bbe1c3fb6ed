// Package doctor reads configuration of what stands around a cluster, as a user wrote it, and names what will hurt: checks
// that do not see the role, pools that do not fit, failover done by two.
//
// It promises that each finding says where it is (file and line), what will happen, and what to write instead; that the same
// text gives the same findings in the order of the file; and that a file rendered by this project gives none. It reads text
// only: nothing is run, resolved or connected to, and that a file has no finding does not make it right.
package doctor
