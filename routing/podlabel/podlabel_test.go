package podlabel

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// server is the API server's part: it takes patches of one pod.
type server struct {
	mu      sync.Mutex
	patches []string
	refuse  bool
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var body struct {
		Metadata struct{ Labels map[string]*string }
	}
	raw, _ := io.ReadAll(r.Body)
	switch err := json.Unmarshal(raw, &body); {
	case s.refuse:
		http.Error(w, "forbidden", http.StatusForbidden)
		return
	case err != nil, r.Method != http.MethodPatch, r.Header.Get("Content-Type") != "application/merge-patch+json",
		r.Header.Get("Authorization") != "Bearer secret", r.URL.Path != "/pods/demo-0", len(body.Metadata.Labels) != 1:
		http.Error(w, "bad patch "+string(raw), http.StatusBadRequest)
		return
	}
	label, there := body.Metadata.Labels[Label]
	switch {
	case !there:
		http.Error(w, "another label", http.StatusBadRequest)
	case label == nil:
		s.patches = append(s.patches, "removed")
	default:
		s.patches = append(s.patches, *label)
	}
}

// RoundTrip answers without a socket, so that virtual time goes on.
func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Result(), nil
}

// keep runs a keeper whose agent answers by role, while the story changes it.
func keep(t *testing.T, s *server, story func(say func(role string))) []string {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		role := ""
		k := &Keeper{Pod: "http://api/pods/demo-0", HTTP: &http.Client{Transport: s}, Log: slog.New(slog.DiscardHandler),
			Token: func() (string, error) { return "secret", nil }, Now: time.Now,
			Check: func(_ context.Context, path string) error {
				mu.Lock()
				defer mu.Unlock()
				if role != "" && path == "/"+role {
					return nil
				}
				return errors.New("503")
			},
			Wait: func(ctx context.Context, d time.Duration) error {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(d):
					return nil
				}
			}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- k.Run(ctx) }()
		story(func(r string) {
			mu.Lock()
			role = r
			mu.Unlock()
			<-time.After(2 * Every)
		})
		cancel()
		if err := <-done; err != nil && !s.refuse {
			t.Error(err)
		}
	})
	return s.patches
}

func TestTheLabelFollowsTheAgentAndIsGoneAtTheEnd(t *testing.T) {
	got := keep(t, &server{}, func(say func(string)) {
		say("")
		say("replica")
		say("primary")
		say("")
		say("replica")
	})
	want := []string{"removed", "replica", "primary", "removed", "replica", "removed"}
	if !slices.Equal(got, want) {
		t.Errorf("the pod was labelled %v, want %v", got, want)
	}
}

func TestALabelThatDoesNotChangeIsWrittenAgainNowAndThen(t *testing.T) {
	got := keep(t, &server{}, func(say func(string)) {
		say("primary")
		<-time.After(2*Again + Every)
	})
	if want := []string{"removed", "primary", "primary", "primary", "removed"}; !slices.Equal(got, want) && !slices.Equal(got, want[1:]) {
		t.Errorf("the pod was labelled %v, want %v", got, want)
	}
}

func TestAFailedPatchIsTriedAgain(t *testing.T) {
	s := &server{refuse: true}
	got := keep(t, s, func(say func(string)) {
		say("primary")
		s.mu.Lock()
		s.refuse = false
		s.mu.Unlock()
		say("primary")
	})
	if want := []string{"primary", "removed"}; !slices.Equal(got, want) {
		t.Errorf("the pod was labelled %v, want %v", got, want)
	}
}
