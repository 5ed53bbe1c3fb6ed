package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWhatAMemberLostIsReadFromItsStateDirectory: its agent is down, and nothing
// else tells.
func TestWhatAMemberLostIsReadFromItsStateDirectory(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "state", "lost", "00000001-0000000003000148")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	summary := `{"member":"pg3","id":"00000001-0000000003000148","found":"2026-02-03T10:00:00Z","timeline":1,"from":"0/3000148","to":"0/30A0000","transactions":17,"tables":[],"files":[]}`
	if err := os.WriteFile(filepath.Join(folder, "summary.json"), []byte(summary), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, member := range map[string]string{"that is no member at the moment": "pg3", "whose agent does not answer": "pg1"} {
		path := filepath.Join(dir, member+".yml")
		text := fmt.Sprintf("scope: batman\nname: %s\netcd3:\n  hosts: 127.0.0.1:2379\nrestapi:\n  connect_address: 127.0.0.1:1\npostgresql:\n  data_dir: %s/data\npgkeeper:\n  state_dir: %s/state\n", member, dir, dir)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got := try{args: []string{"history", "--lost", "-c", path, "-o", "tsv"}, keys: batman()}.run(t)
		if got.code != 1 || !strings.Contains(got.out, "pg3\t2026-02-03T10:00:00Z\t1\t0/3000148\t0/30A0000\t17") || !strings.Contains(got.errOut, "pg2 has not said") {
			t.Errorf("a member %s: exit code %d\n%s%s", name, got.code, got.out, got.errOut)
		}
	}
}
