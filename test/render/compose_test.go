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
	Configs map[string]struct{ File string }
}

func loadCompose(t *testing.T, path string) composeFile {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var c composeFile
	if err := yaml.Unmarshal(text, &c); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return c
}

// A name that stands for one container, or one volume for all, is what keeps a service from being scaled.
func TestNodesOfComposeAndSwarmCanBeScaled(t *testing.T) {
	for _, place := range places {
		for _, name := range []string{"compose/docker-compose.yml", "swarm/stack.yml"} {
			c := loadCompose(t, filepath.Join(place, name))
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

// A folder that was rendered elsewhere is deployed as it is.
func TestWhatComposeAndSwarmReadIsInTheirFolder(t *testing.T) {
	for _, place := range places {
		for _, name := range []string{"compose/docker-compose.yml", "swarm/stack.yml"} {
			c := loadCompose(t, filepath.Join(place, name))
			var files []string
			for _, config := range c.Configs {
				files = append(files, config.File)
			}
			for _, service := range c.Services {
				for _, v := range service.Volumes {
					if source := sourceOf(v); strings.HasPrefix(source, ".") {
						files = append(files, source)
					}
				}
			}
			if len(files) == 0 {
				t.Errorf("%s reads no file: HAProxy has no configuration", name)
			}
			for _, file := range files {
				if _, err := os.Stat(filepath.Join(place, filepath.Dir(name), file)); err != nil || !filepath.IsLocal(file) {
					t.Errorf("%s reads %s, which is not in its folder: %v", name, file, err)
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
