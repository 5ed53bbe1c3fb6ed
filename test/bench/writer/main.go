package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "writer:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

// speaker is either kind of writing.
type speaker interface {
	run(ctx context.Context)
	report(since time.Time) any
	verify(ctx context.Context) (any, error)
}

func run() error {
	dsn := flag.String("dsn", "", "where to write: a connection string, with several hosts for a cluster")
	table := flag.String("table", "bench_writes", "table with columns run and id, both bigint, of which it is the key")
	id := flag.Int64("run", 0, "number of this run")
	every := flag.Duration("every", 5*time.Millisecond, "a row is due this often")
	patience := flag.Duration("patience", 0, "how long a statement or a connection may take before the next is tried, all hosts at once; 0 for ever, one host after another")
	each := flag.Bool("each", false, "write to every host at once")
	watch := flag.String("machine", "", "write to a file in this folder instead, and tell how the machine stalls")
	flag.Parse()

	ctx, cancel := context.WithCancel(context.Background()) //nolint:usetesting // a program
	defer cancel()
	journal := newJournal(*every)
	// A row that is there already, after an answer that was lost, is written again: to leave
	// it as it is would be acknowledged at once, whether it is anywhere else or not.
	insert := "insert into " + *table + " values ($1, $2) on conflict (run, id) do update set id = excluded.id"
	var s speaker
	var err error
	switch {
	case *watch != "":
		s, err = newMachine(*watch, 2**every)
	case *each:
		s, err = newProbes(*dsn, insert, *id, journal)
	default:
		s, err = newClient(*dsn, insert, *table, *id, *patience, journal)
	}
	if err != nil {
		return err
	}
	done := make(chan struct{})
	go func() { defer close(done); s.run(ctx) }()
	err = converse(ctx, s)
	cancel()
	<-done
	return err
}

// converse answers the lines on standard input until they end.
func converse(ctx context.Context, s speaker) error {
	lines, answers := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for lines.Scan() {
		word, rest, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		var answer any
		var err error
		switch word {
		case "report":
			nanos, bad := strconv.ParseInt(rest, 10, 64)
			if bad != nil {
				return fmt.Errorf("report wants unix nanoseconds: %w", bad)
			}
			answer = s.report(time.Unix(0, nanos))
		case "verify":
			answer, err = s.verify(ctx)
		case "quit":
			return nil
		default:
			return fmt.Errorf("no such command: %q", word)
		}
		if err != nil {
			answer = map[string]string{"error": err.Error()}
		}
		if err := answers.Encode(answer); err != nil {
			return err
		}
	}
	return lines.Err()
}
