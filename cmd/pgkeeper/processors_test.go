package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"testing/synctest"
)

func TestAnIdleWorkerRunsOnOneProcessorAndABusyOneOnAll(t *testing.T) {
	t.Setenv("GOMAXPROCS", "")
	defer runtime.SetDefaultGOMAXPROCS()
	all := runtime.GOMAXPROCS(0)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		answered := 0
		h := fewProcessors(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { answered++ }), ctx.Done())
		ask := func(n int) {
			for range n {
				h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/primary", nil))
			}
		}
		want := func(n int, when string) {
			t.Helper()
			synctest.Wait()
			if got := runtime.GOMAXPROCS(0); got != n {
				t.Errorf("%s: %d processors, want %d", when, got, n)
			}
		}
		wait := func() {
			ctx, cancel := context.WithTimeout(ctx, countFor+1)
			defer cancel()
			<-ctx.Done()
		}
		want(1, "at the start")
		ask(busyAt - 1)
		want(1, "asked a little")
		wait()
		ask(busyAt)
		want(all, "asked a lot")
		wait()
		want(all, "right after that")
		wait()
		want(1, "when nobody has asked for a while")
		if answered != 2*busyAt-1 {
			t.Errorf("%d answers, want %d", answered, 2*busyAt-1)
		}
	})
}

func TestProcessorsThatAUserSetStay(t *testing.T) {
	t.Setenv("GOMAXPROCS", "2")
	next := http.NewServeMux()
	if h := fewProcessors(next, t.Context().Done()); h != http.Handler(next) {
		t.Errorf("%T counts requests", h)
	}
}
