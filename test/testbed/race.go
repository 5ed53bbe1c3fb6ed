//go:build race

package testbed

// raceDetector tells how this program was built; nodes are built alike.
const raceDetector = true
