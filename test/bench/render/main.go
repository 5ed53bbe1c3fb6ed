// Command render writes the table of measured numbers into a page, between its marks.
//
//	go run ./test/bench/render                          from docs/bench/results.jsonl into README.md
//	go run ./test/bench/render -from FILE -publish      FILE becomes docs/bench/results.jsonl first
//	go run ./test/bench/render -from FILE -page ''      the table on standard output
//
// It promises to change nothing but what is between the marks, and nothing at all when they are missing.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/pgkeeper/pgkeeper/test/bench/report"
)

// published is the file of results that is kept with the code.
const published = "docs/bench/results.jsonl"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "render:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

func run() error {
	from := flag.String("from", published, "file of results")
	page := flag.String("page", "README.md", "page with the marks; empty prints the table")
	publish := flag.Bool("publish", false, "make the file the published one")
	flag.Parse()

	trials, err := report.Read(*from)
	if err != nil {
		return err
	}
	if len(trials) == 0 {
		return fmt.Errorf("no results in %s: run make bench", *from)
	}
	if *publish && *from != published {
		if err := copyTrials(trials); err != nil {
			return err
		}
	}
	table := report.Table(trials)
	if *page == "" {
		fmt.Print(table)
		return nil
	}
	old, err := os.ReadFile(*page)
	if err != nil {
		return fmt.Errorf("read the page: %w", err)
	}
	fresh, err := report.Insert(string(old), table)
	if err != nil {
		return fmt.Errorf("%s: %w", *page, err)
	}
	return os.WriteFile(*page, []byte(fresh), 0o644)
}

// copyTrials writes the trials of the latest builds, which are those that the table shows.
func copyTrials(trials []report.Trial) error {
	if err := os.Remove(published); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("replace the published results: %w", err)
	}
	for _, row := range report.Rows() {
		for _, system := range []string{report.Keeper, report.Patroni} {
			for _, t := range report.Latest(trials, row.ID, system) {
				if err := report.Append(published, t); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
