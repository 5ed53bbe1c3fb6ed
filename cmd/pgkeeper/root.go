package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/ctl"
)

// globals are the flags that every verb takes, before or after its name.
type globals struct {
	config, dcs, api string
	scope            string
	insecure         bool
	output           string
	force            bool
}

const (
	groupNode    = "node"
	groupLook    = "look"
	groupChange  = "change"
	groupMembers = "members"
)

// flagSet is what a verb needs of cobra's flags.
type flagSet interface {
	StringVar(p *string, name, value, usage string)
	StringVarP(p *string, name, shorthand, value, usage string)
	StringArrayVarP(p *[]string, name, shorthand string, value []string, usage string)
	BoolVar(p *bool, name string, value bool, usage string)
	BoolVarP(p *bool, name, shorthand string, value bool, usage string)
	IntVar(p *int, name string, value int, usage string)
	Float64VarP(p *float64, name, shorthand string, value float64, usage string)
	MarkHidden(name string) error
}

// root builds the command tree for args. Parents' flags are traversed, as patronictl's
// users write them: pgkeeper -c FILE query -c SQL.
func (a *app) root(args []string) *cobra.Command {
	root := &cobra.Command{
		Use:   "pgkeeper",
		Short: "keeps one PostgreSQL primary writable, replaces it when it fails, brings it back as a standby",
		Long: `pgkeeper runs beside each PostgreSQL server (pgkeeper agent), and is the operator's tool for the cluster.

A verb reaches the cluster through etcd (-c FILE of any member, or -d etcd3://host:port) or through the REST
API of one agent (--api http://host:8008, which needs no etcd credentials). Without any of them it looks at
$PGKEEPER_CONFIG, the user's configuration directory, /etc/pgkeeper/pgkeeper.yml, what the environment configures as
in a container (etcd, else the agent), and then http://127.0.0.1:8008.

Exit codes: 0 it happened; 1 refused or failed, one line says why; 2 the command line is wrong.`,
		TraverseChildren: true, SilenceErrors: true, SilenceUsage: true,
		Args: func(_ *cobra.Command, args []string) error { return a.unknownCommand(args) },
		RunE: func(cmd *cobra.Command, _ []string) error { return a.rootRun(cmd) },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddGroup(
		&cobra.Group{ID: groupNode, Title: "Run it:"}, &cobra.Group{ID: groupLook, Title: "Look:"},
		&cobra.Group{ID: groupChange, Title: "Change the cluster:"}, &cobra.Group{ID: groupMembers, Title: "Change members:"},
	)
	root.Flags().BoolP("version", "V", false, "print the version")
	a.addGlobals(root.Flags(), true)
	root.AddCommand(a.commandsFor(args)...)
	return root
}

func (a *app) rootRun(cmd *cobra.Command) error {
	if asked, _ := cmd.Flags().GetBool("version"); asked {
		a.began = true
		a.printVersion(a.out)
		return nil
	}
	_ = cmd.Help()
	return nil
}

func (a *app) unknownCommand(args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usageError{fmt.Errorf("unknown command %q%s", args[0], a.nearest(args[0]))}
}

// nearest suggests the verb that was probably meant.
func (a *app) nearest(word string) string {
	for _, c := range a.commands() {
		if c.Hidden {
			continue
		}
		if strings.HasPrefix(c.Name(), word) || slices.Contains(c.SuggestFor, word) || strings.HasPrefix(word, c.Name()) {
			return fmt.Sprintf(": did you mean %q?", c.Name())
		}
	}
	return ""
}

// addGlobals defines the shared flags. query has -c and -d of its own, as in
// patronictl; there short is false, and the shared ones go before the verb.
func (a *app) addGlobals(flags flagSet, short bool) {
	letter := func(s string) string {
		if short {
			return s
		}
		return ""
	}
	g := &a.options
	flags.StringVarP(&g.config, "config", letter("c"), g.config, "configuration `FILE` of any member (also $PGKEEPER_CONFIG)")
	flags.StringVar(&g.config, "config-file", g.config, "same as --config")
	flags.StringVarP(&g.dcs, "dcs", letter("d"), g.dcs, "etcd at `URL`: etcd3://[user:password@]host:port[,host:port][/namespace]")
	flags.StringVar(&g.dcs, "dcs-url", g.dcs, "same as --dcs")
	flags.StringVar(&g.api, "api", g.api, "REST API of one agent at `URL`: http[s]://[user:password@]host:port")
	flags.StringVar(&g.scope, "scope", g.scope, "`NAME` of the cluster")
	flags.BoolVarP(&g.insecure, "insecure", "k", g.insecure, "do not verify the certificates of REST APIs")
	flags.StringVarP(&g.output, "output", "o", g.output, "output `FORMAT`: pretty, json, yaml or tsv")
	flags.BoolVar(&g.force, "force", g.force, "ask nothing and answer yes")
	for _, alias := range []string{"config-file", "dcs-url"} {
		_ = flags.MarkHidden(alias)
	}
}

// verb is a command that works on a cluster.
type verb struct {
	use, short, long, example, group string
	aliases, suggest                 []string
	hidden                           bool
	// args checks the number of arguments; nil allows none.
	args cobra.PositionalArgs
	// flags defines the verb's own flags.
	flags func(flagSet)
	// noShort leaves -c and -d to the verb.
	noShort bool
	run     func(*cobra.Command, []string) error
}

func (a *app) command(v verb) *cobra.Command {
	if v.args == nil {
		v.args = cobra.NoArgs
	}
	cmd := &cobra.Command{
		Use: v.use, Short: v.short, Long: v.long, Example: v.example, GroupID: v.group, Aliases: v.aliases, SuggestFor: v.suggest,
		Hidden: v.hidden, Args: v.args, SilenceErrors: true, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			a.began = true
			return v.run(cmd, args)
		},
	}
	if v.flags != nil {
		v.flags(cmd.Flags())
	}
	a.addGlobals(cmd.Flags(), !v.noShort)
	return cmd
}

// usagef is a wrong command line.
func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// console is where the verb talks; format is what it writes when -o is not given.
func (a *app) console(fallback ctl.Format) (*ctl.Console, error) {
	format := fallback
	if a.options.output != "" {
		parsed, err := ctl.ParseFormat(a.options.output)
		if err != nil {
			return nil, usageError{err}
		}
		format = parsed
	}
	return &ctl.Console{
		In: a.in, Out: a.out, Err: a.err, Force: a.options.force,
		Progress: isTerminal(a.err), Format: format, Style: a.style(),
	}, nil
}

// style draws with lines where the locale can, with colour only on a terminal.
func (a *app) style() ctl.Style {
	locale := ""
	for _, name := range []string{"LANG", "LC_CTYPE", "LC_ALL"} {
		if value := a.getenv(name); value != "" {
			locale = value
		}
	}
	utf8 := strings.Contains(strings.ToUpper(strings.ReplaceAll(locale, "-", "")), "UTF8")
	return ctl.Style{Unicode: utf8, Color: isTerminal(a.out) && a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb"}
}

// errNoName asks for what cannot be guessed.
var errNoName = errors.New("which cluster? name it as an argument or with --scope")
