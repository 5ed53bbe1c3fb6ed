package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/pgkeeper/pgkeeper/cluster"
)

// SlotPolicy says which slots EnsureSlots may drop.
type SlotPolicy struct {
	// Drop is asked for every inactive physical slot that is not wanted; nil
	// drops none. Active, logical and temporary slots are never dropped here.
	Drop func(cluster.Slot) bool
}

// SlotChanges are the slots EnsureSlots made and dropped.
type SlotChanges struct {
	Made, Dropped []string
}

const slotsSQL = `
select json_agg(json_build_object('name', slot_name, 'type', slot_type, 'active', active,
  'restart', restart_lsn::text, 'status', wal_status, 'plugin', plugin, 'database', database,
  'temporary', temporary) order by slot_name) from pg_replication_slots`

// EnsureSlots makes the physical slots in want that are missing, on a primary or
// on a standby that may become one. A slot keeps WAL from the moment it is made.
func (s *Server) EnsureSlots(ctx context.Context, want []string, policy SlotPolicy) (changes SlotChanges, err error) {
	rows, err := s.act.query(ctx, "slots", slotsSQL)
	if err != nil {
		return changes, fmt.Errorf("list the slots: %w", err)
	}
	r := reader{row: rows[0]}
	have := map[string]cluster.Slot{}
	for _, slot := range slotsOf(&r, 0) {
		have[slot.Name] = slot
	}
	if r.err != nil {
		return changes, r.err
	}
	for _, name := range want {
		slot, found := have[name]
		if found && slot.Type == "physical" && slot.WalStatus == "lost" && !slot.Active {
			// It keeps nothing any more and lets nobody stream.
			if err := s.DropSlot(ctx, name); err != nil {
				return changes, err
			}
			found = false
		}
		if found {
			continue
		}
		if err := s.makeSlot(ctx, name); err != nil {
			return changes, err
		}
		changes.Made = append(changes.Made, name)
	}
	for name, slot := range have {
		if slices.Contains(want, name) || slot.Active || slot.Temporary || slot.Type != "physical" ||
			policy.Drop == nil || !policy.Drop(slot) {
			continue
		}
		if err := s.DropSlot(ctx, name); err != nil {
			return changes, err
		}
		changes.Dropped = append(changes.Dropped, name)
	}
	slices.Sort(changes.Dropped)
	return changes, nil
}

func (s *Server) makeSlot(ctx context.Context, name string) error {
	_, err := s.act.query(ctx, "make_slot", "select pg_create_physical_replication_slot($1, true)", name)
	if err != nil && sqlState(err) != stateDuplicateObject {
		return fmt.Errorf("make slot %q: %w", name, err)
	}
	return nil
}

// DropSlot drops a slot; that it does not exist is no error.
func (s *Server) DropSlot(ctx context.Context, name string) error {
	_, err := s.act.query(ctx, "drop_slot", "select pg_drop_replication_slot($1)", name)
	switch state := sqlState(err); {
	case err == nil, state == stateUndefinedObject:
		return nil
	case state == stateObjectInUse:
		return fmt.Errorf("drop slot %q: it is in use by a walsender: %w", name, err)
	}
	return fmt.Errorf("drop slot %q: %w", name, err)
}
