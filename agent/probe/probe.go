package probe

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
)

// Spec is what to probe; it is the first line on the process's input, and the end of
// that input ends it.
type Spec struct {
	DataDir string `json:"data_dir"`
	// SocketDir, Port, User, Password and Database are where connections are opened,
	// and a session that is asked a query.
	SocketDir string `json:"socket_dir"`
	Port      string `json:"port"`
	User      string `json:"user"`
	Password  string `json:"password,omitempty"`
	Database  string `json:"database"`
	// Patience is how long failures must go on before somebody concludes anything;
	// what a try may take, and how often there is one, follow from it.
	Patience time.Duration `json:"patience"`
}

// Line is how one try ended, on the process's output; an empty ailment is a success.
// Began is when a success began, and since when nothing is known to have succeeded
// otherwise.
type Line struct {
	Check   cluster.CheckName `json:"check"`
	Began   cluster.Instant   `json:"began"`
	At      cluster.Instant   `json:"at"`
	Ailment cluster.Ailment   `json:"ailment,omitempty"`
	Detail  string            `json:"detail,omitempty"`
}

// every is between two tries, failing between two after one failed. A try that has not
// ended after limit has failed.
func (s Spec) every() time.Duration   { return s.Patience / 5 }
func (s Spec) failing() time.Duration { return s.Patience / 10 }
func (s Spec) limit() time.Duration   { return s.Patience * 2 / 5 }

// Run probes until ctx or the input ends. Successes are told when something changed,
// failures always.
func Run(ctx context.Context, in io.Reader, out io.Writer) error {
	// It may run as the server's user, whom its memory is no business of.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("hide the password: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	input := bufio.NewReader(in)
	first, err := input.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read what to probe: %w", err)
	}
	var spec Spec
	if err := json.Unmarshal(first, &spec); err != nil {
		return fmt.Errorf("read what to probe: %w", err)
	}
	if spec.Patience <= 0 {
		return errors.New("read what to probe: patience is not positive")
	}
	go func() {
		_, _ = io.Copy(io.Discard, input)
		cancel()
	}()
	var mu sync.Mutex
	encoder := json.NewEncoder(out)
	say := func(l Line) {
		mu.Lock()
		defer mu.Unlock()
		if encoder.Encode(l) != nil { // nobody listens any more
			cancel()
		}
	}
	origin := clock.Now()
	disk, asker := &disk{dataDir: spec.DataDir}, &asker{spec: spec}
	for _, c := range []check{
		{cluster.CheckAccept, cluster.AilmentHung, asker.accept, 5},
		{cluster.CheckData, cluster.AilmentStalled, disk.data, 1},
		{cluster.CheckWAL, cluster.AilmentStalled, disk.wal, 1},
		{cluster.CheckTablespace, cluster.AilmentStalled, disk.tablespaces, 1},
	} {
		r := &rounds{check: c, spec: spec, say: say, ended: make(chan ended), origin: origin}
		go r.run(ctx)
	}
	<-ctx.Done() // what hangs in the kernel is not waited for
	return nil
}
