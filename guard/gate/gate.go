package gate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sys/unix"

	"github.com/pgkeeper/pgkeeper/guard"
)

const (
	// connectLimit bounds one attempt to connect.
	connectLimit = 3 * time.Second
	// retryQuick is between two attempts at first, retrySlow when the server has not
	// let us in for slowAfter: commits wait for it, but each attempt forks a backend.
	retryQuick = 5 * time.Millisecond
	retrySlow  = 100 * time.Millisecond
	slowAfter  = 2 * time.Second
)

// Run is the body of the gate process. It returns when the context ends; ordinarily it
// is killed, by the guard or with it.
func Run(ctx context.Context, spec guard.Gate, page *guard.Page, log *slog.Logger) error {
	// It confirms until the server is gone: whatever ends the agent's other processes
	// must not make a stop of the server wait for a confirmation that never comes.
	signal.Ignore(unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGPIPE, unix.SIGUSR1, unix.SIGUSR2)
	// It may run as the server's user, whom its memory is no business of.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("hide the password: %w", err)
	}
	debug.SetMemoryLimit(32 << 20)
	runtime.LockOSThread() // one thread reads, in the kernel: no poller stands between
	if err := wakeSoon(); err != nil {
		log.Debug("gate is scheduled like any process", "error", err)
	}
	g := gate{spec: spec, page: page, log: log, warden: newWarden(page.Lease, guard.Now, wall)}
	for ctx.Err() == nil {
		page.Beat(guard.Now())
		pause := g.retry(g.session(ctx))
		_, _ = unix.Poll(nil, int(pause.Milliseconds()))
	}
	return context.Cause(ctx)
}

// retry notes how a session ended and says when to try again. That a server starts, or
// stops, is no news: only what goes on for longer is said, once.
func (g *gate) retry(streamed bool, err error) time.Duration {
	now := guard.Now()
	switch {
	case streamed && g.said != "":
		g.log.Info("gate streams again", "gate", g.spec.Name)
		g.lost, g.said = now, ""
	case streamed, g.lost == 0:
		g.lost = now
	case now > g.lost+slowAfter && err.Error() != g.said:
		g.said = err.Error()
		g.log.Warn("gate does not stream, commits wait", "gate", g.spec.Name, "error", g.said)
	}
	if now > g.lost+slowAfter {
		return retrySlow
	}
	return retryQuick
}

// slice is the least the kernel allows.
const slice = 100 * time.Microsecond

// wakeSoon asks for short slices of processor time, which since Linux 6.12 need no
// privilege: whoever asks for little at a time is run the sooner when it wakes up. On
// two saturated cores the mean delay of a confirmation fell from 72 to 41 us. The name
// of the field is that of deadline scheduling; older kernels ignore it.
func wakeSoon() error {
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		return err
	}
	attr.Runtime = uint64(slice)
	return unix.SchedSetAttr(0, attr, 0)
}

// wall is CLOCK_REALTIME, which is compared with nothing but its own past.
func wall() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_REALTIME, &ts) // cannot fail
	return time.Duration(ts.Nano())
}

type gate struct {
	spec   guard.Gate
	page   *guard.Page
	log    *slog.Logger
	warden *warden
	lost   time.Duration // since when there is no stream
	said   string
}

// session is one connection.
func (g *gate) session(ctx context.Context) (streamed bool, err error) {
	socket, err := g.connect(ctx)
	if err != nil {
		return false, err
	}
	defer socket.close()
	before := g.page.Report().Confirmed
	err = newStream(socket, g.warden, g.page).run()
	return g.page.Report().Confirmed != before, err
}

// connect authenticates, and takes the connection from there as a bare socket.
func (g *gate) connect(ctx context.Context) (*socket, error) {
	config, err := pgconn.ParseConfig(conninfo("host", g.spec.SocketDir, "port", g.spec.Port, "user", g.spec.User, "dbname", "replication",
		"sslmode", "disable", "passfile", "/dev/null", "servicefile", "/dev/null", "application_name", g.spec.Name))
	if err != nil {
		return nil, fmt.Errorf("connect to the server: %w", err)
	}
	config.Password = g.spec.Password
	config.RuntimeParams["replication"] = "true"
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to the server: %w", err)
	}
	if err := conn.SyncConn(ctx); err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	hijacked, err := conn.Hijack()
	if err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	return newSocket(hijacked.Conn)
}

// conninfo quotes keywords and values.
func conninfo(words ...string) string {
	var b strings.Builder
	for i := 0; i < len(words); i += 2 {
		b.WriteString(words[i] + "='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(words[i+1]) + "' ")
	}
	return b.String()
}
