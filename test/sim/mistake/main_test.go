package main

import (
	"testing"
)

// TestMistakesCanBePutBack: what each of them changes is still there.
func TestMistakesCanBePutBack(t *testing.T) {
	t.Chdir("../../..")
	for _, m := range mistakes {
		if _, err := m.overlay(t.TempDir()); err != nil {
			t.Error(err)
		}
	}
}
