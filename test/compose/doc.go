// Package compose starts deploy/compose on a real container engine, scales it, kills its primary, makes its containers anew,
// and watches from outside.
//
// It is behind the tag compose and in no run of CI: making the image takes longer than all of it (make compose-test). Where
// there is no engine, or no docker-compose, it says so and is skipped.
package compose
