package agent

import (
	"context"
	"errors"
	"time"

	"github.com/pgkeeper/pgkeeper/agent/clock"
	"github.com/pgkeeper/pgkeeper/cluster"
)

// reloadPause is between two tries to read the store; loadLimit bounds one.
const (
	reloadPause = 100 * time.Millisecond
	loadLimit   = 3 * time.Second
)

// watch feeds the loop with views: one load, then what changes, and a new load
// after every broken watch, since events were lost.
func (w *worker) watch(ctx context.Context) {
	for ctx.Err() == nil {
		err := w.watchOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil { // it is to be read anew
			continue
		}
		w.node.post(ViewFailed{errText(err)})
		clock.Sleep(ctx.Done(), reloadPause)
	}
}

func (w *worker) watchOnce(ctx context.Context) error {
	select {
	case <-w.readAgain: // this is that read
	default:
	}
	began := clock.Now()
	view, err := w.load(ctx)
	if err != nil {
		return err
	}
	w.peers.see(view)
	w.node.post(ViewSeen{View: view, Read: began})
	watchCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	updates := w.store.Watch(watchCtx, view)
	for {
		select {
		case <-w.readAgain:
			return nil
		case update, open := <-updates:
			switch {
			case !open:
				return errors.New("the watch ended")
			case update.Err != nil:
				return update.Err
			}
			w.peers.see(update.View)
			w.node.post(ViewSeen{View: update.View})
		}
	}
}

// readStore has the watch begin anew, with a read.
func (w *worker) readStore() {
	select {
	case w.readAgain <- struct{}{}:
	default: // one that has yet to leave is asked for already
	}
}

func (w *worker) load(ctx context.Context) (cluster.View, error) {
	ctx, cancel := context.WithTimeout(ctx, loadLimit)
	defer cancel()
	return w.store.Load(ctx)
}
