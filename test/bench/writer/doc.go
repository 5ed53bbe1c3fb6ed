// Command writer writes a numbered row every 5 ms and knows how long it could not. It is the client of the bench, in a
// process of its own so that nothing the harness does delays it.
//
// It promises an open loop: row n is due n intervals after the start, whatever became of the one before, and how late
// rows come is told apart from the gap. It writes through one connection that it takes to whichever server accepts writes
// (several hosts in the DSN, target_session_attrs=read-write), connects anew at once, later less often, so that a gap is
// known to a hundredth, and keeps trying one row until it is acknowledged. With -patience it gives a statement up that is
// not answered in time, as on a server that is cut off, and tries all hosts at once. With -each it keeps one connection to every
// host instead and writes to all of them all the time, so that two servers that accept writes at once are seen. With -machine it has nothing to do with any server: it writes
// to a file, sleeps, and tells how long the disk and the scheduler made it wait.
//
// It does not decide what is good: it reports what it saw, one JSON line for each line on its standard input:
//
//	report <unix nanoseconds>   what was seen since that moment (see Report)
//	verify                      which acknowledged rows are missing
//	quit                        the end, as is the end of the input
package main
