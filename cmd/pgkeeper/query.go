package main

import (
	"bufio"
	"cmp"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/ctl"
)

// queryFlags are query's own.
type queryFlags struct {
	options  ctl.QueryOptions
	file     string
	format   string
	password bool
	watch    watching
}

func (a *app) query() *cobra.Command {
	var q queryFlags
	return a.command(verb{
		use: "query [CLUSTER]", group: groupLook, args: cobra.MaximumNArgs(1), noShort: true,
		short: "run SQL on a member, the primary unless told otherwise",
		long: `Run SQL on a member, the primary unless told otherwise. The user is -U, else the superuser of the file
given with --config, else PGUSER; the password is asked with --password, else the file's, PGPASSWORD or the
passfile. -c and -d are the SQL and the database here: --config and --dcs go by their long names, or before the verb.`,
		example: "  pgkeeper query -c 'select pg_is_in_recovery()' -r replica -U postgres",
		flags: func(f flagSet) {
			targetFlags(f, &q.options.Target)
			f.StringVarP(&q.options.SQL, "command", "c", "", "run this `SQL`")
			f.StringVarP(&q.file, "file", "f", "", "run the SQL of `FILE` (- is standard input)")
			f.StringVarP(&q.options.Username, "username", "U", "", "connect as `USER`")
			f.BoolVar(&q.password, "password", false, "ask for the password")
			f.StringVarP(&q.options.Database, "dbname", "d", "", "connect to `DATABASE` (default postgres)")
			f.StringVar(&q.options.Delimiter, "delimiter", "", "`TEXT` between columns of tsv (default a tab)")
			f.StringVar(&q.format, "format", "", "same as --output")
			q.watch.flags(f)
		},
		run: func(cmd *cobra.Command, args []string) error { return a.runQuery(cmd, &q, args) },
	})
}

func (a *app) runQuery(cmd *cobra.Command, q *queryFlags, args []string) error {
	a.useFormat(q.format)
	if err := checkTarget(q.options.Target); err != nil {
		return err
	}
	if (q.options.SQL == "") == (q.file == "") {
		return usagef("give either SQL with -c or a file with -f")
	}
	if q.file != "" {
		text, err := a.readInput(q.file)
		if err != nil {
			return err
		}
		q.options.SQL = string(text)
	}
	o, err := a.operator(cmd.Context(), one(args), ctl.FormatTSV)
	if err != nil {
		return err
	}
	if err := a.queryUser(q); err != nil {
		return err
	}
	return a.repeat(cmd.Context(), &q.watch, func() error { return o.Query(cmd.Context(), q.options) })
}

// queryUser settles as whom to connect.
func (a *app) queryUser(q *queryFlags) error {
	if q.password {
		password, err := a.askPassword()
		if err != nil {
			return err
		}
		q.options.Password = password
	}
	if path := a.configPath(); path != "" {
		var s source
		if a.readConfig(&s, path) == nil {
			super := s.config.PostgreSQL.Authentication.Superuser
			if q.options.Username == "" || q.options.Username == super.Username {
				q.options.Username = super.Username
				q.options.Password = cmp.Or(q.options.Password, super.Password)
			}
		}
	}
	return nil
}

func (a *app) askPassword() (string, error) {
	fmt.Fprint(a.err, "Password: ")
	password, err := withoutEcho(a.in, func() (string, error) { return bufio.NewReader(a.in).ReadString('\n') })
	fmt.Fprintln(a.err)
	if err != nil && password == "" {
		return "", fmt.Errorf("read the password: %w", err)
	}
	return strings.TrimRight(password, "\r\n"), nil
}
