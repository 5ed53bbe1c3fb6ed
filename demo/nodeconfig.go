package demo

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"text/template"
)

//go:embed node.yml.tmpl
var nodeTemplate string

// nodeParams are the holes in the template.
type nodeParams struct {
	Name, Etcd, Dir, Password string
	SQLPort, APIPort          int
	TTL                       int
	Root                      bool
}

// nodeConfig renders a node's configuration file.
func nodeConfig(p nodeParams) ([]byte, error) {
	t, err := template.New("node").Option("missingkey=error").Parse(nodeTemplate)
	if err != nil {
		return nil, fmt.Errorf("parse the nodes' configuration: %w", err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, p); err != nil {
		return nil, fmt.Errorf("render the configuration of %s: %w", p.Name, err)
	}
	return out.Bytes(), nil
}

// newNode makes a node's folder and configuration file; nothing runs yet.
func (s *stage) newNode(number, sqlPort, apiPort int) (*node, error) {
	name := fmt.Sprintf("pg%d", number)
	dir, err := s.place.folder(name)
	if err != nil {
		return nil, err
	}
	text, err := nodeConfig(nodeParams{
		Name: name, Etcd: s.etcdAddress(), Dir: dir, Password: s.password,
		SQLPort: sqlPort, APIPort: apiPort, TTL: ttlSeconds, Root: s.place.uid >= 0,
	})
	if err != nil {
		return nil, err
	}
	n := &node{name: name, dir: dir, sqlPort: sqlPort, apiPort: apiPort}
	if err := os.WriteFile(filepath.Join(dir, "pgkeeper.yml"), text, 0o600); err != nil {
		return nil, fmt.Errorf("write the configuration of %s: %w", name, err)
	}
	return n, nil
}
