package guard

import (
	"errors"
	"fmt"
	"math"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Lifted stands for a deadline in a pause: there is none.
const Lifted = time.Duration(math.MaxInt64)

// pageSize is the unit in which memory is shared and protected.
var pageSize = os.Getpagesize()

// Page is memory that a guard and its gate share, so that the gate can read the
// deadline without asking: a guard that is frozen then only means that the deadline
// does not move. The guard writes the lease, which the gate has mapped read-only; the
// gate writes its report, of which nothing here depends.
type Page struct {
	file   *os.File
	lease  *leaseWords
	report *reportWords
}

// leaseWords is the guard's half.
type leaseWords struct {
	until   atomic.Int64 // deadline; 0: nothing may be confirmed
	renewed atomic.Int64 // when the renewal it comes from was sent
}

// DelayBuckets is how many classes of delays a report counts: below FirstDelay, below
// twice that, and so on; the last one takes the rest.
const (
	DelayBuckets = 16
	FirstDelay   = 16 * time.Microsecond
)

// reportWords is the gate's half.
type reportWords struct {
	beat      atomic.Int64
	streaming atomic.Int64
	position  atomic.Uint64
	confirmed atomic.Uint64
	withheld  atomic.Uint64
	delaySum  atomic.Int64
	delays    [DelayBuckets]atomic.Uint64
}

// GateReport is what a gate says of itself.
type GateReport struct {
	Beat      time.Duration `json:"beat_boottime_ns"` // when it last looked around
	Streaming bool          `json:"streaming"`        // set before the first confirmation of a connection
	Position  uint64        `json:"position"`         // newest WAL position it confirmed
	Confirmed uint64        `json:"confirmed"`
	// Withheld counts what it did not confirm because its lease was over, or because
	// the clocks had jumped.
	Withheld uint64 `json:"withheld,omitempty"`
	// DelaySum and Delays are of the time from the server's sending of WAL to its
	// confirmation.
	DelaySum time.Duration        `json:"delay_sum_ns"`
	Delays   [DelayBuckets]uint64 `json:"delays"`
}

// NewPage makes an empty page: nothing may be confirmed.
func NewPage() (*Page, error) {
	fd, err := unix.MemfdCreate("pgkeeper-gate", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make the page of the gate: %w", err)
	}
	file := os.NewFile(uintptr(fd), "pgkeeper-gate")
	if err := file.Truncate(int64(2 * pageSize)); err != nil {
		return nil, errors.Join(fmt.Errorf("make the page of the gate: %w", err), file.Close())
	}
	p, err := mapPage(file, unix.PROT_READ|unix.PROT_WRITE)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return p, nil
}

// OpenPage maps the page that a gate inherited.
func OpenPage(fd int) (*Page, error) {
	unix.CloseOnExec(fd)
	return mapPage(os.NewFile(uintptr(fd), "pgkeeper-gate"), unix.PROT_READ)
}

// mapPage maps both halves; they stay mapped as long as the process lives.
func mapPage(file *os.File, lease int) (*Page, error) {
	p := &Page{file: file}
	first, err := unix.Mmap(int(file.Fd()), 0, pageSize, lease, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the page of the gate: %w", err)
	}
	second, err := unix.Mmap(int(file.Fd()), int64(pageSize), pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("map the page of the gate: %w", err), unix.Munmap(first))
	}
	// A mapping begins at a page, which is more than the alignment of any word.
	p.lease, p.report = (*leaseWords)(unsafe.Pointer(&first[0])), (*reportWords)(unsafe.Pointer(&second[0]))
	return p, nil
}

// close ends the descriptor; the mappings stay.
func (p *Page) close() { _ = p.file.Close() }

// publish gives the gate a deadline. The time of renewal is written first: whoever
// reads the new deadline then reads the new time as well.
func (p *Page) publish(until, renewed time.Duration) {
	p.lease.renewed.Store(int64(renewed))
	p.lease.until.Store(int64(until))
}

// Lease is the deadline now, and when the renewal it comes from was sent.
func (p *Page) Lease() (until, renewed time.Duration) {
	until = time.Duration(p.lease.until.Load())
	return until, time.Duration(p.lease.renewed.Load())
}

// Beat says that the gate is alive.
func (p *Page) Beat(now time.Duration) { p.report.beat.Store(int64(now)) }

// Stream says whether the gate streams.
func (p *Page) Stream(on bool) {
	p.report.streaming.Store(0)
	if on {
		p.report.streaming.Store(1)
	}
}

// Confirm counts a confirmation, and how long after its sending by the server it came
// (negative: not known).
func (p *Page) Confirm(position uint64, delay time.Duration) {
	r := p.report
	r.position.Store(position)
	r.confirmed.Add(1)
	if delay < 0 {
		return
	}
	bucket := 0
	for limit := FirstDelay; bucket < DelayBuckets-1 && delay >= limit; limit *= 2 {
		bucket++
	}
	r.delaySum.Add(int64(delay))
	r.delays[bucket].Add(1)
}

// Withhold counts a confirmation that was not given.
func (p *Page) Withhold() { p.report.withheld.Add(1) }

// Report is what the gate says of itself.
func (p *Page) Report() GateReport {
	r := p.report
	g := GateReport{
		Beat: time.Duration(r.beat.Load()), Streaming: r.streaming.Load() != 0, Position: r.position.Load(),
		Confirmed: r.confirmed.Load(), Withheld: r.withheld.Load(), DelaySum: time.Duration(r.delaySum.Load()),
	}
	for i := range r.delays {
		g.Delays[i] = r.delays[i].Load()
	}
	return g
}
