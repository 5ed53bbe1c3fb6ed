package render

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestDashboardAndAlertsUseMetricsThatExist(t *testing.T) {
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	metric := regexp.MustCompile(`pgkeeper_[a-z_]+`)
	for _, kind := range []string{"grafana", "prometheus"} {
		files, err := Render(kind, DefaultParams())
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			for _, name := range metric.FindAllString(string(f.Text), -1) {
				bare := name
				for _, suffix := range []string{"_bucket", "_count", "_sum"} {
					bare = strings.TrimSuffix(bare, suffix)
				}
				if !strings.Contains(string(page), "`"+name+"`") && !strings.Contains(string(page), "`"+bare+"`") {
					t.Errorf("%s uses %s, which docs/metrics.md does not have", f.Name, name)
				}
			}
		}
	}
}
