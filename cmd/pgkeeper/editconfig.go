package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/spf13/cobra"

	"github.com/pgkeeper/pgkeeper/ctl"
)

func (a *app) editConfig() *cobra.Command {
	var e ctl.Edit
	var apply, replace string
	return a.command(verb{
		use: "edit-config [CLUSTER]", group: groupChange, args: cobra.MaximumNArgs(1),
		short: "change the dynamic configuration",
		long: `Change the dynamic configuration: with -s and -p, from a file, or in $EDITOR. Shows the difference, asks,
and writes only if nobody else wrote meanwhile. A null value deletes the key.
What agents will correct is said; a key that is not known is refused, unless with --force.`,
		example: "  pgkeeper edit-config -s ttl=5 -p max_connections=200\n  pgkeeper edit-config --apply patch.yml --force",
		flags: func(f flagSet) {
			f.StringArrayVarP(&e.Set, "set", "s", nil, "set `KEY=VALUE`, dots separate levels (repeatable)")
			f.StringArrayVarP(&e.Parameters, "pg", "p", nil, "set a server parameter, `NAME=VALUE` (repeatable)")
			f.StringVar(&apply, "apply", "", "merge the YAML of `FILE` (- is standard input)")
			f.StringVar(&replace, "replace", "", "replace all by the YAML of `FILE` (- is standard input)")
			f.BoolVarP(&e.Quiet, "quiet", "q", false, "do not show the difference")
		},
		run: func(cmd *cobra.Command, args []string) error {
			if err := a.editSource(&e, apply, replace); err != nil {
				return err
			}
			o, err := a.operator(cmd.Context(), one(args), ctl.FormatPretty)
			if err != nil {
				return err
			}
			return o.EditConfig(cmd.Context(), e)
		},
	})
}

// editSource reads the files, or offers the editor where a person sits.
func (a *app) editSource(e *ctl.Edit, apply, replace string) (err error) {
	switch {
	case apply != "" && replace != "":
		return usagef("--apply and --replace exclude each other")
	case apply != "":
		e.Apply, err = a.readInput(apply)
	case replace != "":
		e.Replace, err = a.readInput(replace)
	case len(e.Set)+len(e.Parameters) > 0:
	case isTerminal(a.in):
		e.Editor = a.editor
	default:
		return usagef("nothing to change: give -s KEY=VALUE, -p NAME=VALUE, --apply or --replace (an editor needs a terminal)")
	}
	return err
}

// readInput reads a file; - is standard input.
func (a *app) readInput(path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(a.in)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the file: %w", err)
	}
	return text, nil
}

// editor lets the operator edit a text in $EDITOR.
func (a *app) editor(text string) (string, error) {
	file, err := os.CreateTemp("", "pgkeeper-*.yml")
	if err != nil {
		return "", fmt.Errorf("make a file to edit: %w", err)
	}
	defer os.Remove(file.Name())
	_, err = file.WriteString(text)
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return "", fmt.Errorf("write the file to edit: %w", err)
	}
	program := cmp.Or(a.getenv("VISUAL"), a.getenv("EDITOR"), "vi")
	edit := exec.Command("/bin/sh", "-c", program+` "$1"`, "sh", file.Name()) //nolint:noctx // ends when its user ends it
	edit.Stdin, edit.Stdout, edit.Stderr = a.in, a.out, a.err
	if err := edit.Run(); err != nil {
		return "", fmt.Errorf("run the editor %s: %w: set $EDITOR, or use -s, --apply or --replace", program, err)
	}
	edited, err := os.ReadFile(file.Name())
	return string(edited), err
}
