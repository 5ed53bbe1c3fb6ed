// Command mistake puts each mistake that the simulator has found back, one at a time,
// and tells whether its story still shows it:
//
//	go run ./test/sim/mistake [-only 1613] [-search 2000]
//
// The model of the world moves on, and faults that hit a mistake once pass it by
// later. With -search, such a story is tried with other seeds and with its faults
// moved a little, until one shows the mistake: it is printed as it goes into
// story_test.go. Where no variant does, its faults were met by chance, or another
// guard has come to hold the mistake as well: docs/safety.md has a row for each.
// Nothing in the working tree is changed.
//
// It is to be run after each change that has the stories' transcripts written anew,
// with -only for those that have a mistake, and whole before a release. It compiles
// the simulator once for each mistake, which takes some seconds each: it is no part
// of make test.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

func main() {
	only := flag.String("only", "", "mistakes whose story matches this expression")
	search := flag.Int("search", 0, "how many variants to try of a story that does not show its mistake")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *only, *search)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

var errPassedBy = errors.New("not every story shows its mistake: give -search")

func run(ctx context.Context, only string, search int) error {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	var bad error
	for _, m := range mistakes {
		if !wanted.MatchString(m.story) {
			continue
		}
		out, err := m.test(ctx, "TestStories/^"+m.story+"$", nil)
		if err != nil {
			return err
		}
		if how := shows.FindString(out); how != "" {
			fmt.Printf("%s: %s\n", m.story, how)
			continue
		}
		fmt.Printf("%s: passed by\n", m.story)
		bad = errPassedBy
		if search > 0 {
			out, err := m.test(ctx, "TestVariants", []string{"SIM_STORY=" + m.story, "SIM_SEEDS=" + strconv.Itoa(search)})
			if err != nil {
				return err
			}
			fmt.Println(out)
		}
	}
	return bad
}

// shows is what a test says of a story that went wrong, not only otherwise.
var shows = regexp.MustCompile(`\S+ is violated|(?:no order|nobody leads) at .*`)

// test runs a test of the simulator with the mistake in it.
func (m mistake) test(ctx context.Context, name string, env []string) (string, error) {
	dir, err := os.MkdirTemp("", "mistake")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	overlay, err := m.overlay(dir)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-overlay", overlay, "./test/sim", "-run", name, "-count=1", "-vet=off", "-v")
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || strings.Contains(string(out), "[build failed]") {
		return "", fmt.Errorf("%s: %w\n%s", m.story, err, out)
	}
	return string(out), ctx.Err()
}

// overlay writes the changed files into dir, and what tells the compiler of them.
func (m mistake) overlay(dir string) (string, error) {
	changed := map[string]string{}
	replace := map[string]string{}
	for _, c := range m.changes {
		text, known := changed[c.file]
		if !known {
			content, err := os.ReadFile(filepath.FromSlash(c.file))
			if err != nil {
				return "", err
			}
			text = string(content)
		}
		if strings.Count(text, c.is) != 1 {
			return "", fmt.Errorf("%s: %s has not once: %s", m.story, c.file, c.is)
		}
		changed[c.file] = strings.Replace(text, c.is, c.was, 1)
	}
	for file, text := range changed {
		path, err := filepath.Abs(filepath.FromSlash(file))
		if err != nil {
			return "", err
		}
		with := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(with, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[path] = with
	}
	content, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "overlay.json")
	return name, os.WriteFile(name, content, 0o600)
}
