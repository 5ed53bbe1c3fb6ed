package podlabel

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"
)

// The label and its values.
const (
	Label   = "role"
	Primary = "primary"
	Replica = "replica"
)

const (
	// Every is the time between two looks at the agent.
	Every = 250 * time.Millisecond
	// Again is the time after which a label that has not changed is written again.
	Again = 30 * time.Second
	// patience bounds one request, to the agent or the API server.
	patience = 2 * time.Second
)

// Keeper keeps one pod's label.
type Keeper struct {
	// Check asks the agent one health check: nil when it is 200.
	Check func(ctx context.Context, path string) error
	// Pod is the pod's URL at the API server.
	Pod string
	// Token is read anew for each request: it changes every hour.
	Token func() (string, error)
	HTTP  *http.Client
	Log   *slog.Logger
	// Now is the time; Wait returns after d, or earlier with ctx's error.
	Now  func() time.Time
	Wait func(ctx context.Context, d time.Duration) error
}

// Run keeps the label until ctx ends, and takes it away then. What fails is logged once and tried again.
func (k *Keeper) Run(ctx context.Context) error {
	var written string
	var known, complained bool
	var at time.Time
	for {
		role := k.role(ctx)
		if ctx.Err() != nil {
			break
		}
		if !known || role != written || k.Now().Sub(at) >= Again {
			err := k.put(ctx, role)
			switch {
			case err == nil && (!known || role != written):
				k.Log.Info("label changed", "role", role)
			case err != nil && !complained && ctx.Err() == nil:
				k.Log.Warn("label not written", "role", role, "error", err.Error())
			}
			complained = err != nil
			if known = err == nil; known {
				written, at = role, k.Now()
			}
		}
		if k.Wait(ctx, Every) != nil {
			break
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	return k.put(last, "")
}

// role is what the agent says its server is; empty when it is neither, or the agent does not answer.
func (k *Keeper) role(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	switch {
	case k.Check(ctx, "/primary") == nil:
		return Primary
	case k.Check(ctx, "/replica") == nil:
		return Replica
	}
	return ""
}

// put writes the label; an empty role removes it.
func (k *Keeper) put(ctx context.Context, role string) error {
	var value any
	if role != "" {
		value = role
	}
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": map[string]any{Label: value}}})
	if err != nil {
		return err
	}
	token, err := k.Token()
	if err != nil {
		return fmt.Errorf("read the pod's token: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPatch, k.Pod, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/merge-patch+json")
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := k.HTTP.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(response.Body, 300))
		return fmt.Errorf("PATCH %s: %s: %s (the account needs get and patch of pods)", k.Pod, response.Status, bytes.TrimSpace(said))
	}
	return nil
}
