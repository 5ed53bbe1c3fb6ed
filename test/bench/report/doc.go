// Package report keeps what the bench measured and renders it as the README's table.
//
// It promises that a row means the same in the bench, in the file of results and in the table: Rows is the one list of
// them, with what must be reached, what is aimed at, and how a verdict is reached. The file is JSON lines, one trial
// each, only ever appended to.
//
// It does not measure anything, and it does not judge whether a machine was quiet enough: every trial carries the load
// average it ran under.
package report
