// Command client is a client of pgrw in a process of its own, for make bench. It prints
// one JSON object and ends.
//
//	client -mode causal -dsn pgkeeper://... -reads 100000    reads what it writes, see package causal
//	client -mode overhead -dsn pgkeeper://... -primary postgres://... -replica postgres://...    what pgrw costs beyond pgxpool
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/pgkeeper/pgkeeper/pgrw"
	"github.com/pgkeeper/pgkeeper/test/pgrw/causal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	mode := flag.String("mode", "", "causal or overhead")
	dsn := flag.String("dsn", "", "what pgrw.Open takes")
	primary := flag.String("primary", "", "overhead: the DSN of the primary")
	replica := flag.String("replica", "", "overhead: the DSN of a replica")
	reads := flag.Int64("reads", 100_000, "causal: how many reads with a token")
	workers := flag.Int("workers", 8, "causal: how many write and read at once")
	queries := flag.Int("queries", 20_000, "overhead: how many queries each way")
	flag.Parse()
	db, err := pgrw.Open(ctx, *dsn, pgrw.WithMaxWait(time.Minute))
	if err != nil {
		return err
	}
	defer db.Close()
	var result any
	switch *mode {
	case "causal":
		r := &causal.Run{DB: db, Table: fmt.Sprintf("causal_%d", time.Now().UnixNano()), Workers: *workers, After: *reads}
		if err := r.Prepare(ctx); err != nil {
			return err
		}
		result = r.Do(ctx)
	case "overhead":
		if result, err = overhead(ctx, db, *primary, *replica, *queries); err != nil {
			return err
		}
	default:
		return fmt.Errorf("unknown mode %q", *mode)
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}
