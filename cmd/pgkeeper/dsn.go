package main

import (
	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/ctl"
)

func targetFlags(f flagSet, t *ctl.Target) {
	f.StringVarP(&t.Role, "role", "r", "", "the first member with this `ROLE` (leader, primary, standby-leader, replica, standby, any)")
	f.StringVarP(&t.Member, "member", "m", "", "this `MEMBER`")
}

func checkTarget(t ctl.Target) error {
	if t.Role == "" {
		return nil
	}
	if err := ctl.CheckRole(t.Role); err != nil {
		return usageError{err}
	}
	return nil
}

func (a *app) dsn() *cobra.Command {
	var target ctl.Target
	return a.command(verb{
		use: "dsn [CLUSTER]", group: groupLook, args: cobra.MaximumNArgs(1),
		short: "print where to connect: host=... port=...",
		flags: func(f flagSet) { targetFlags(f, &target) },
		run: func(cmd *cobra.Command, args []string) error {
			if err := checkTarget(target); err != nil {
				return err
			}
			o, err := a.operator(cmd.Context(), one(args), ctl.FormatPretty)
			if err != nil {
				return err
			}
			return o.DSN(cmd.Context(), target)
		},
	})
}
