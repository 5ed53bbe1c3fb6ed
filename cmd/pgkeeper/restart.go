package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/ctl"
)

func roleFlag(f flagSet, s *ctl.Selection) {
	f.StringVarP(&s.Role, "role", "r", "", "only members with this `ROLE`")
}

func checkRole(s ctl.Selection) error { return checkTarget(ctl.Target{Role: s.Role}) }

func (a *app) restart() *cobra.Command {
	var options ctl.RestartOptions
	var timeout string
	var wait bool
	return a.command(verb{
		use: "restart CLUSTER [MEMBER...]", group: groupMembers, args: cobra.ArbitraryArgs,
		short:   "restart servers, standbys first, one after another",
		example: "  pgkeeper restart batman --pending --force\n  pgkeeper restart batman pg2",
		flags: func(f flagSet) {
			roleFlag(f, &options.Selection)
			f.BoolVar(&options.Any, "any", false, "restart a single one of them")
			f.BoolVar(&options.Pending, "pending", false, "only where a restart is pending")
			f.StringVar(&options.Scheduled, "scheduled", "", "`WHEN`, ISO 8601 with a zone (default: now)")
			f.StringVar(&options.PGVersion, "pg-version", "", "only servers older than this `VERSION`")
			f.StringVar(&timeout, "timeout", "", "how long a server may take to start, in `SECONDS` or as 90s, 5min")
			waitFlag(f, &wait)
		},
		run: func(cmd *cobra.Command, args []string) error {
			var err error
			if options.Timeout, err = parseTimeout(timeout); err != nil {
				return err
			}
			if err := checkRole(options.Selection); err != nil {
				return err
			}
			o, members, err := a.operatorForMembers(cmd.Context(), args)
			if err != nil {
				return err
			}
			options.Members = members
			o.Console.Progress = o.Console.Progress || wait
			return o.Restart(cmd.Context(), options)
		},
	})
}

// parseTimeout reads seconds, or a number with PostgreSQL's or Go's unit.
func parseTimeout(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && seconds > 0 {
		return time.Duration(seconds * float64(time.Second)), nil
	}
	d, err := time.ParseDuration(minutes.Replace(text))
	if err != nil || d <= 0 {
		return 0, usageError{fmt.Errorf("--timeout %q: want seconds, or a number with a unit such as 90s or 5min", text)}
	}
	return d, nil
}
