// Package docs holds the pages in docs/ to the code: every guard of the safety
// argument stands in its table with tests that exist, every key of the store
// stands in the layout with an example the code can read, and every link leads
// somewhere.
//
// It promises nothing about what the pages say beyond that, and has no code of
// its own.
package docs
