package main

import (
	"strings"
	"testing"
)

func TestSkipListAllowsOnlyWhatItNames(t *testing.T) {
	list, err := parseSkips("skips.txt", "# a comment\n\ndcs/etcd TestAuth* # needs root\ntest/sim TestLong/seed_1 # too long\n")
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name, pkg, test string
		want            bool
	}{
		{"the pattern matches in the package", "example.com/m/dcs/etcd", "TestAuthBasic", true},
		{"another package is not allowed", "example.com/m/dcs/memory", "TestAuthBasic", false},
		{"a package whose name only ends alike is not allowed", "example.com/m/otherdcs/etcd", "TestAuthBasic", false},
		{"another test is not allowed", "example.com/m/dcs/etcd", "TestLease", false},
		{"a subtest is named in full", "test/sim", "TestLong/seed_1", true},
		{"a star does not reach into subtests", "example.com/m/dcs/etcd", "TestAuth/basic", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := list.allows(c.pkg, c.test); got != c.want {
				t.Errorf("allows(%q, %q) = %v, want %v", c.pkg, c.test, got, c.want)
			}
		})
	}
}

func TestSkipListRefusesALineWithoutAReason(t *testing.T) {
	for _, text := range []string{"\ndcs TestA", "\ndcs TestA #  ", "\ndcs # why", "\ndcs Test[ # why"} {
		_, err := parseSkips("test/skips.txt", text)
		if err == nil || !strings.Contains(err.Error(), "test/skips.txt:2:") {
			t.Errorf("parseSkips(%q) = %v, want an error that names test/skips.txt:2", text, err)
		}
	}
}

func TestSkipListOfTheProjectIsReadable(t *testing.T) {
	if _, err := readSkips("../skips.txt"); err != nil {
		t.Fatal(err)
	}
}
