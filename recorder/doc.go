// Package recorder is the flight recorder: every step's Observation and Decision,
// in bounded files of the state directory, and what can be done with them.
//
// It promises that a recording is exact: Decide, run on a recorded Observation,
// gives the recorded Decision, or the code has changed (Replay says where). That
// what is recorded holds no secret: settings, conninfos and texts that could are
// left out or cleaned (secret.go), and Decide does not look at them. That Record
// never waits: a disk that is slow, full or stuck costs steps of the recording,
// counted as a gap, never time of the loop. That a crash loses at most what was
// queued, and leaves files that can be read up to there.
//
// It does not promise to have everything: it is bounded, the oldest goes first,
// and nothing is fsynced. It decides nothing and nothing depends on it.
//
// A file is lines of JSON. The first, and each after a pause in recording, holds a
// whole step; the others only what changed since the line before.
package recorder
