package ctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgkeeper/pgkeeper/config"
)

// Edit is a wish to change the dynamic configuration: exactly one of Patch,
// Replace, the assignments, or Editor.
type Edit struct {
	// Set and Parameters are -s and -p assignments.
	Set, Parameters []string
	// Apply is merged over what is stored, Replace takes its place; both YAML.
	Apply, Replace []byte
	// Editor lets the operator edit the text; nil when there is none.
	Editor func(text string) (string, error)
	// Quiet shows no difference.
	Quiet bool
}

// EditConfig changes the dynamic configuration: shows the difference and what agents
// will make of it, asks, and writes it only if nobody else wrote meanwhile.
func (o *Operator) EditConfig(ctx context.Context, e Edit) error {
	old, err := o.Cluster.Config(ctx)
	if err != nil {
		return err
	}
	before, err := ToYAML(old.Raw)
	if err != nil {
		return err
	}
	doc, err := e.apply(old.Raw, before)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("encode the configuration: %w", err)
	}
	after, err := ToYAML(raw)
	if err != nil {
		return err
	}
	diff := Diff(before, after)
	if diff == "" {
		o.Console.Say("Not changed")
		return nil
	}
	fresh := freshProblems(old.Raw, raw)
	if err := refuse(fresh, o.Console.Force); err != nil {
		return err
	}
	if !e.Quiet {
		fmt.Fprint(o.Console.Out, diff)
	}
	fmt.Fprint(o.Console.Err, fresh)
	if err := o.Console.Confirm("Apply these changes?"); err != nil {
		return err
	}
	if err := o.Cluster.SetConfig(ctx, old, raw); err != nil {
		return err
	}
	o.Console.Say("Configuration changed")
	return nil
}

func (e Edit) apply(raw json.RawMessage, shown string) (document, error) {
	doc, err := decode(raw)
	if err != nil && e.Replace == nil {
		return nil, fmt.Errorf("%w: mend it with --replace FILE", err)
	}
	switch {
	case e.Replace != nil:
		if doc, err = ParseYAML(e.Replace, "the new configuration"); err != nil {
			return nil, err
		}
	case e.Apply != nil:
		patch, err := ParseYAML(e.Apply, "the patch")
		if err != nil {
			return nil, err
		}
		doc = merge(doc, patch)
	case len(e.Set)+len(e.Parameters) == 0 && e.Editor != nil:
		text, err := e.Editor(shown)
		if err != nil {
			return nil, err
		}
		if doc, err = ParseYAML([]byte(text), "the edited configuration"); err != nil {
			return nil, err
		}
	}
	return doc, e.assign(doc)
}

func (e Edit) assign(doc document) error {
	for _, text := range e.Set {
		path, value, err := Assignment(text)
		if err != nil {
			return err
		}
		assign(doc, path, value)
	}
	for _, text := range e.Parameters {
		path, value, err := ParameterAssignment(text)
		if err != nil {
			return err
		}
		assign(doc, path, value)
	}
	return nil
}

// freshProblems are those that the stored configuration does not have: what is wrong
// already must not keep an operator from mending the rest.
func freshProblems(old, raw json.RawMessage) config.Problems {
	_, had := config.Dynamic(old)
	_, has := config.Dynamic(raw)
	known := map[string]bool{}
	for _, p := range had {
		known[p.String()] = true
	}
	return slices.DeleteFunc(has, func(p config.Problem) bool { return known[p.String()] })
}

// refuse is the refusal of a change with such problems: of what agents would not take
// over, and of keys nobody knows unless they are forced. Forced ones are for agents that
// know more than this program.
func refuse(fresh config.Problems, forced bool) error {
	var wrong []string
	for _, p := range fresh {
		switch {
		case p.Severity == config.Error:
			wrong = append(wrong, p.String())
		case p.Unknown && !forced:
			wrong = append(wrong, p.String()+" (--force writes it all the same)")
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("%w, nothing was changed: %s", ErrRefused, strings.Join(wrong, "; "))
}

// Pause switches maintenance mode on or off; with wait it returns when every
// member has seen it.
func (o *Operator) Pause(ctx context.Context, on, wait bool) error {
	if err := o.setPause(ctx, on); err != nil {
		return err
	}
	if wait {
		if err := o.waitPause(ctx, on); err != nil {
			return err
		}
	}
	if on {
		o.Console.Say("Success: cluster management is paused")
	} else {
		o.Console.Say("Success: cluster management is resumed")
	}
	return nil
}

// setPause repeats what lost against another writer: the two changes touch
// different keys.
func (o *Operator) setPause(ctx context.Context, on bool) error {
	for attempt := 0; ; attempt++ {
		old, err := o.Cluster.Config(ctx)
		if err != nil {
			return err
		}
		doc, err := decode(old.Raw)
		if err != nil {
			return err
		}
		if paused, _ := doc["pause"].(bool); paused == on {
			return fmt.Errorf("%w: cluster management is already %s", ErrRefused, map[bool]string{true: "paused", false: "resumed"}[on])
		}
		assign(doc, []string{"pause"}, map[bool]any{true: true, false: nil}[on])
		raw, err := json.Marshal(doc)
		if err != nil {
			return fmt.Errorf("encode the configuration: %w", err)
		}
		err = o.Cluster.SetConfig(ctx, old, raw)
		if !errors.Is(err, ErrChanged) || attempt == 5 {
			return err
		}
	}
}

func (o *Operator) waitPause(ctx context.Context, on bool) error {
	overview, err := o.Cluster.Overview(ctx)
	if err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, 2*overview.LoopWait+5*time.Second)
	defer cancel()
	err = o.until(bounded, pollEvery, func(ctx context.Context) (bool, string, error) {
		overview, err := o.Cluster.Overview(ctx)
		if err != nil {
			return false, "", err
		}
		var missing []string
		for _, m := range overview.Members {
			if m.Paused != on {
				missing = append(missing, m.Name)
			}
		}
		if len(missing) == 0 {
			return true, "", nil
		}
		return false, "waiting for " + list(missing), nil
	})
	if err != nil {
		return fmt.Errorf("the configuration was changed, but not every member has confirmed it: %w", err)
	}
	return nil
}
