package config

import (
	"errors"
	"strings"
)

// command reads a program and its arguments as a shell would split them. No shell runs
// it: variables and patterns mean nothing, as in Patroni.
func (k *Key) command(n *node) ([]string, []fault) {
	text, faults := k.text(n)
	if len(faults) > 0 {
		return nil, faults
	}
	words, err := splitCommand(text)
	if err != nil {
		return nil, []fault{{at: n, rule: err.Error(), fix: "close it, or put a backslash before it"}}
	}
	return words, nil
}

var (
	errOpenQuote = errors.New("has a quote that is not closed")
	errOpenSlash = errors.New("ends with a backslash that escapes nothing")
)

// splitCommand splits at blanks outside quotes. Inside double quotes a backslash
// escapes a double quote and itself; inside single quotes it is one.
func splitCommand(text string) (words []string, err error) {
	var word strings.Builder
	var quote rune
	inWord, escaped := false, false
	for _, r := range text {
		switch {
		case escaped:
			if quote == '"' && r != '"' && r != '\\' {
				word.WriteByte('\\')
			}
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			inWord, escaped = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			inWord, quote = true, r
		case quote == 0 && strings.ContainsRune(" \t\r\n", r):
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
		default:
			inWord = true
			word.WriteRune(r)
		}
	}
	switch {
	case quote != 0:
		return nil, errOpenQuote
	case escaped:
		return nil, errOpenSlash
	case inWord:
		words = append(words, word.String())
	}
	return words, nil
}
