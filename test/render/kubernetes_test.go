package render

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	rbac "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

// The shipped files, and those rendered for other values.
var places = []string{"../../deploy", "../../routing/render/testdata"}

// manifests are the objects of one file, each decoded into its API type with unknown fields refused.
type manifests struct {
	set      apps.StatefulSet
	services map[string]core.Service
	role     rbac.Role
	binding  rbac.RoleBinding
	budget   policy.PodDisruptionBudget
	config   core.ConfigMap
	secret   core.Secret
	account  core.ServiceAccount
}

func load(t *testing.T, path string) manifests {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m := manifests{services: map[string]core.Service{}}
	for document := range bytes.SplitSeq(text, []byte("\n---\n")) {
		var kind struct{ APIVersion, Kind string }
		if err := yaml.Unmarshal(document, &kind); err != nil {
			t.Fatal(err)
		}
		strict := func(into any, version string) {
			if kind.APIVersion != version {
				t.Errorf("%s: %s has apiVersion %s, want %s", path, kind.Kind, kind.APIVersion, version)
			}
			if err := yaml.UnmarshalStrict(document, into); err != nil {
				t.Errorf("%s: %s: %v", path, kind.Kind, err)
			}
		}
		switch kind.Kind {
		case "StatefulSet":
			strict(&m.set, "apps/v1")
		case "Service":
			var s core.Service
			strict(&s, "v1")
			m.services[s.Name] = s
		case "Role":
			strict(&m.role, "rbac.authorization.k8s.io/v1")
		case "RoleBinding":
			strict(&m.binding, "rbac.authorization.k8s.io/v1")
		case "PodDisruptionBudget":
			strict(&m.budget, "policy/v1")
		case "ConfigMap":
			strict(&m.config, "v1")
		case "Secret":
			strict(&m.secret, "v1")
		case "ServiceAccount":
			strict(&m.account, "v1")
		default:
			t.Errorf("%s: an object of kind %q that nobody checks", path, kind.Kind)
		}
	}
	return m
}

func each(t *testing.T, check func(t *testing.T, m manifests)) {
	t.Helper()
	for _, place := range places {
		t.Run(filepath.Base(place), func(t *testing.T) { check(t, load(t, filepath.Join(place, "k8s/pgkeeper.yaml"))) })
	}
}

func TestEveryManifestIsKnownToKubernetes(t *testing.T) {
	each(t, func(t *testing.T, m manifests) {
		if m.set.Name == "" || len(m.services) != 3 || m.role.Name == "" || m.budget.Name == "" || m.config.Name == "" || m.secret.Name == "" {
			t.Errorf("objects are missing: %+v", m)
		}
	})
}

func TestServicesAndBudgetSelectThePodsOfTheSet(t *testing.T) {
	each(t, func(t *testing.T, m manifests) {
		pod := labels.Set(m.set.Spec.Template.Labels)
		selectors := map[string]map[string]string{"the set's own selector": m.set.Spec.Selector.MatchLabels, "the budget": m.budget.Spec.Selector.MatchLabels}
		for name, s := range m.services {
			selectors["service "+name] = s.Spec.Selector
		}
		for what, selector := range selectors {
			role, byRole := selector["role"]
			delete(selector, "role")
			if !labels.SelectorFromSet(selector).Matches(pod) {
				t.Errorf("%s selects %v, pods have %v", what, selector, pod)
			}
			if byRole && role != "primary" && role != "replica" {
				t.Errorf("%s selects the role %q, which no agent gives", what, role)
			}
		}
		heads := m.services[m.set.Spec.ServiceName]
		if heads.Spec.ClusterIP != core.ClusterIPNone || !heads.Spec.PublishNotReadyAddresses {
			t.Errorf("the set's service %q must be headless and publish pods that are not ready", m.set.Spec.ServiceName)
		}
	})
}

// Each has cost somebody a cluster.
func TestTheSetKeepsItsPromises(t *testing.T) {
	each(t, func(t *testing.T, m manifests) {
		spec := m.set.Spec.Template.Spec
		if m.set.Spec.PodManagementPolicy != apps.ParallelPodManagement {
			t.Error("pods that wait for each other never come back after all were lost")
		}
		if spec.TerminationGracePeriodSeconds == nil || *spec.TerminationGracePeriodSeconds < 60 {
			t.Error("a hand-over needs time before the pod is killed")
		}
		if len(spec.InitContainers) != 0 {
			t.Error("an init container runs at every start of the pod: it must never touch the data directory")
		}
		if len(m.set.Spec.VolumeClaimTemplates) != 1 || m.set.Spec.VolumeClaimTemplates[0].Name != mounted(spec.Containers[0], "/var/lib/postgresql") {
			t.Error("the data directory must lie on a volume of its own claim")
		}
		if budget := m.budget.Spec; budget.MinAvailable != nil || budget.MaxUnavailable == nil || budget.MaxUnavailable.String() != "1" {
			t.Errorf("at least %v, at most %v less: a drain must take one at a time, also when the set was scaled", budget.MinAvailable, budget.MaxUnavailable)
		}
		keeper := spec.Containers[0]
		if keeper.LivenessProbe.HTTPGet.Path != "/liveness" || keeper.ReadinessProbe.HTTPGet.Path != "/readiness" {
			t.Error("liveness must ask for the agent, readiness for the server")
		}
		if got := keeper.Lifecycle.PreStop.Exec.Command; len(got) != 2 || got[1] != "prestop" {
			t.Errorf("preStop runs %v, want pgkeeper prestop", got)
		}
	})
}

func TestTheAccountMayPatchPodsAndNothingElse(t *testing.T) {
	each(t, func(t *testing.T, m manifests) {
		if m.binding.RoleRef.Name != m.role.Name || m.binding.Subjects[0].Name != m.account.Name || m.set.Spec.Template.Spec.ServiceAccountName != m.account.Name {
			t.Error("role, binding, account and pods do not refer to each other")
		}
		if len(m.role.Rules) != 1 || len(m.role.Rules[0].Resources) != 1 || m.role.Rules[0].Resources[0] != "pods" || len(m.role.Rules[0].Verbs) != 2 {
			t.Errorf("the role allows %+v, want get and patch of pods alone", m.role.Rules)
		}
	})
}

func TestVolumesOfPodsAreThereAndSecretsAreNamed(t *testing.T) {
	each(t, func(t *testing.T, m manifests) {
		known := map[string]bool{}
		for _, v := range m.set.Spec.Template.Spec.Volumes {
			known[v.Name] = true
			if v.ConfigMap != nil && v.ConfigMap.Name != m.config.Name || v.Secret != nil && v.Secret.SecretName != m.secret.Name {
				t.Errorf("volume %s refers to nothing in this file", v.Name)
			}
		}
		for _, c := range m.set.Spec.VolumeClaimTemplates {
			known[c.Name] = true
		}
		for _, c := range m.set.Spec.Template.Spec.Containers {
			for _, mount := range c.VolumeMounts {
				if !known[mount.Name] {
					t.Errorf("container %s mounts %s, which is no volume", c.Name, mount.Name)
				}
			}
		}
		for _, key := range []string{"superuser", "replication", "rewind"} {
			if m.secret.StringData[key] == "" {
				t.Errorf("the secret lacks %s", key)
			}
		}
	})
}

func mounted(c core.Container, path string) string {
	for _, m := range c.VolumeMounts {
		if m.MountPath == path {
			return m.Name
		}
	}
	return ""
}
