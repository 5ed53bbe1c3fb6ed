package render

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

type composeFile struct {
	Services map[string]struct {
		ContainerName string `json:"container_name"`
		Volumes       []any
	}
	Volumes map[string]any
}

// A name that stands for one container, or one volume for all, is what keeps a service from being scaled.
func TestNodesOfComposeAndSwarmCanBeScaled(t *testing.T) {
	for _, place := range places {
		for _, name := range []string{"compose/docker-compose.yml", "swarm/stack.yml"} {
			text, err := os.ReadFile(filepath.Join(place, name))
			if err != nil {
				t.Fatal(err)
			}
			var c composeFile
			if err := yaml.Unmarshal(text, &c); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			node, there := c.Services["node"]
			if !there || node.ContainerName != "" {
				t.Errorf("%s: no service node, or one with a name for its one container", name)
			}
			for _, v := range node.Volumes {
				source := sourceOf(v)
				definition, _ := c.Volumes[source].(map[string]any)
				if _, named := c.Volumes[source]; named && !strings.Contains(asText(definition["name"]), "{{.Task.Slot}}") {
					t.Errorf("%s: all nodes share the volume %s", name, source)
				}
			}
		}
	}
}

func sourceOf(volume any) string {
	if long, ok := volume.(map[string]any); ok {
		return asText(long["source"])
	}
	source, _, _ := strings.Cut(asText(volume), ":")
	return source
}

func asText(v any) string {
	s, _ := v.(string)
	return s
}
