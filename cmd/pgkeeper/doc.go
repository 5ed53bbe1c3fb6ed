// Command pgkeeper is the whole product in one binary: the agent and the two
// processes it starts, the operator's verbs, and the demo.
//
// It promises exit codes that tell the truth: 0 only when it happened, 1 when it
// was refused or failed (one line on standard error says why and what to do), 2
// when the command line is wrong. It parses, wires, runs and maps errors to exit
// codes; what the verbs do is ctl's, what the agent does is agent's.
package main
