package render

import (
	"bytes"
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"text/template"
)

//go:embed all:templates
var templates embed.FS

// File is one rendered file.
type File struct {
	// Name is relative, with slashes.
	Name string
	// Text ends with a newline.
	Text []byte
}

// Kind is one program, or one way to run a cluster, that can be rendered for.
type Kind struct {
	// Name is the word on the command line.
	Name string
	// Short says what the files are, in one line.
	Short string
	// Main is the file that is shown where only one can be.
	Main string
}

// Kinds are all that Render knows, by name.
func Kinds() []Kind {
	return []Kind{
		{"compose", "one `node` service for docker-compose, with etcd, HAProxy and PgBouncer", "docker-compose.yml"},
		{"grafana", "a dashboard: roles, lag, lease, failovers, connections, slots", "pgkeeper.json"},
		{"k8s", "StatefulSet, services by role, RBAC, disruption budget; no operator", "pgkeeper.yaml"},
		{"pgbouncer", "PgBouncer in transaction mode behind HAProxy's two ports", "pgbouncer.ini"},
		{"pgcat", "PgCat behind HAProxy's two ports", "pgcat.toml"},
		{"pgdog", "PgDog, which finds the primary by itself", "pgdog.toml"},
		{"pgpool", "Pgpool-II on two fixed endpoints, HAProxy's two ports", "pgpool.conf"},
		{"prometheus", "scrape configuration and alerts", "prometheus.yml"},
		{"swarm", "a stack for docker swarm", "stack.yml"},
		{"systemd", "the agent's unit", "pgkeeper.service"},
		{"terraform", "nodes by count with the docker provider, and replicas of RDS, Cloud SQL and Azure", "docker/main.tf"},
	}
}

// borrowed are templates of another kind that a kind has, too.
var borrowed = map[string][]string{"swarm": {"compose/haproxy.cfg.tmpl", "compose/hold.lua"}}

// Render writes the files of one kind, sorted by name with the main one first.
func Render(kind string, p Params) ([]File, error) {
	i := slices.IndexFunc(Kinds(), func(k Kind) bool { return k.Name == kind })
	if i < 0 {
		return nil, fmt.Errorf("render: no kind %q", kind)
	}
	if err := p.validate(); err != nil {
		return nil, fmt.Errorf("render %s: %w", kind, err)
	}
	root := path.Join("templates", kind)
	var files []File
	add := func(name, out string) error {
		text, err := fs.ReadFile(templates, name)
		if err != nil {
			return err
		}
		out, isTemplate := strings.CutSuffix(out, ".tmpl")
		if isTemplate {
			text, err = execute(name, string(text), p)
		}
		files = append(files, File{Name: out, Text: text})
		return err
	}
	err := fs.WalkDir(templates, root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		return add(name, strings.TrimPrefix(name, root+"/"))
	})
	for _, name := range borrowed[kind] {
		err = errors.Join(err, add(path.Join("templates", name), path.Base(name)))
	}
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", kind, err)
	}
	main := Kinds()[i].Main
	slices.SortFunc(files, func(a, b File) int {
		return cmp.Or(btoi(b.Name == main)-btoi(a.Name == main), strings.Compare(a.Name, b.Name))
	})
	return files, nil
}

func execute(name, text string, p Params) ([]byte, error) {
	parsed, err := template.New(name).Option("missingkey=error").Parse(text)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = parsed.Execute(&out, p)
	return out.Bytes(), err
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
