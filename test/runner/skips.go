package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
)

// skipRule allows the tests of one package whose names match a pattern to be skipped in CI.
type skipRule struct {
	pkg, pattern string
}

// skipList is test/skips.txt. The zero value allows nothing.
type skipList []skipRule

// readSkips reads the list; a file that is not there allows nothing.
func readSkips(file string) (skipList, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the list of allowed skips: %w", err)
	}
	return parseSkips(file, string(text))
}

// parseSkips reads lines of "<package> <test> # <reason>".
func parseSkips(file, text string) (skipList, error) {
	var list skipList
	number := 0
	for line := range strings.Lines(text) {
		number++
		rule, reason, _ := strings.Cut(strings.TrimSpace(line), "#")
		fields := strings.Fields(rule)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 2 || strings.TrimSpace(reason) == "" {
			return nil, fmt.Errorf("%s:%d: %q is not \"<package> <test> # <reason>\"", file, number, strings.TrimSpace(line))
		}
		if _, err := path.Match(fields[1], ""); err != nil {
			return nil, fmt.Errorf("%s:%d: bad pattern %q: %w", file, number, fields[1], err)
		}
		list = append(list, skipRule{pkg: fields[0], pattern: fields[1]})
	}
	return list, nil
}

// allows says whether a test may be skipped. A package is named by the end of its import path.
func (l skipList) allows(pkg, test string) bool {
	for _, rule := range l {
		inPackage := pkg == rule.pkg || strings.HasSuffix(pkg, "/"+rule.pkg)
		if matched, _ := path.Match(rule.pattern, test); inPackage && matched {
			return true
		}
	}
	return false
}
