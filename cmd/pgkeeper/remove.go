package main

import (
	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/ctl"
)

func (a *app) remove() *cobra.Command {
	return a.command(verb{
		use: "remove [CLUSTER] MEMBER...", group: groupMembers, args: cobra.MinimumNArgs(1),
		short: "forget members that are gone for good: their slots, and the WAL those keep",
		long: `Forget members that are gone for good. Stop their agents first (scale down, delete the pod, systemctl stop): a member that
runs is refused. Its slot, and the WAL that it keeps, go at once instead of after member_slots_ttl. Nothing is removed on
the member's own machine. This is not patronictl's remove, which deletes a whole cluster from the store.`,
		example: "  pgkeeper remove batman pg3",
		run: func(cmd *cobra.Command, args []string) error {
			// Who is removed is in no list any more: the first of several words is the cluster.
			name, members := "", args
			if len(args) > 1 && a.options.scope == "" {
				name, members = args[0], args[1:]
			}
			o, err := a.operator(cmd.Context(), name, ctl.FormatPretty)
			if err != nil {
				return err
			}
			return o.Remove(cmd.Context(), members)
		},
	})
}
