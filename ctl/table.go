package ctl

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/lipgloss/table"
	"github.com/goccy/go-yaml"
)

// Format is how a verb's result is written.
type Format string

// The formats. FormatYML is patronictl's other name for YAML.
const (
	FormatPretty Format = "pretty"
	FormatJSON   Format = "json"
	FormatYAML   Format = "yaml"
	FormatYML    Format = "yml"
	FormatTSV    Format = "tsv"
)

// ParseFormat reads a format's name.
func ParseFormat(s string) (Format, error) {
	switch f := Format(strings.ToLower(s)); f {
	case FormatPretty, FormatJSON, FormatYAML, FormatTSV:
		return f, nil
	case FormatYML:
		return FormatYAML, nil
	}
	return "", fmt.Errorf("unknown format %q: choose pretty, json, yaml or tsv", s)
}

// Table is a result in rows: pretty for people, the same under stable keys for
// programs.
type Table struct {
	// Title stands above and Footer below the pretty form only.
	Title   string
	Footer  []string
	Columns []Column
	Rows    [][]Cell
}

// Column names one column: Head for people, Key for programs.
type Column struct {
	Head, Key string
	// Right aligns numbers.
	Right bool
	// OnlyData hides the column from the pretty form.
	OnlyData bool
}

// Cell is one value: Text for people and TSV, Value for JSON and YAML. A nil
// Value leaves the key out, as patronictl does with what it does not know.
type Cell struct {
	Text  string
	Value any
	// Plain is the TSV form where it differs from Text.
	Plain string
	// Mark colours the cell on a terminal.
	Mark Mark
}

// Mark says what a cell means, not which colour it has.
type Mark int

// The marks.
const (
	MarkNone Mark = iota
	MarkGood
	MarkBusy
	MarkBad
)

// Style is how the pretty form is drawn.
type Style struct {
	// Unicode draws lines instead of dashes and pluses.
	Unicode bool
	// Color colours marks and dims lines.
	Color bool
}

// Write writes the table in the format.
func (t Table) Write(w io.Writer, format Format, style Style) error {
	var out []byte
	var err error
	switch format {
	case FormatJSON:
		out, err = t.json()
	case FormatYAML:
		out, err = t.yaml()
	case FormatTSV:
		out = t.tsv()
	default:
		out = []byte(t.Pretty(style))
	}
	if err != nil {
		return fmt.Errorf("write the table as %s: %w", format, err)
	}
	_, err = w.Write(out)
	return err
}

// Pretty is the form for people.
func (t Table) Pretty(style Style) string {
	var heads []string
	var shown []int
	for i, c := range t.Columns {
		if !c.OnlyData {
			heads, shown = append(heads, c.Head), append(shown, i)
		}
	}
	drawn := table.New().Border(border(style)).Headers(heads...).Wrap(false).
		BorderStyle(paint(style, faint)).
		StyleFunc(func(row, col int) lipgloss.Style { return t.cellStyle(style, row, shown[col]) })
	for _, row := range t.Rows {
		line := make([]string, 0, len(shown))
		for _, i := range shown {
			line = append(line, row[i].Text)
		}
		drawn.Row(line...)
	}
	var b strings.Builder
	if t.Title != "" {
		fmt.Fprintln(&b, t.Title)
	}
	fmt.Fprintln(&b, drawn.Render())
	for _, line := range t.Footer {
		fmt.Fprintln(&b, " "+line)
	}
	return b.String()
}

func (t Table) cellStyle(style Style, row, column int) lipgloss.Style {
	s := lipgloss.NewStyle().Padding(0, 1)
	if t.Columns[column].Right {
		s = s.Align(lipgloss.Right)
	}
	if row == table.HeaderRow || row < 0 || row >= len(t.Rows) {
		return s
	}
	return s.Inherit(paint(style, colours[t.Rows[row][column].Mark]))
}

func border(style Style) lipgloss.Border {
	if style.Unicode {
		return lipgloss.RoundedBorder()
	}
	return lipgloss.ASCIIBorder()
}

// The sixteen base colours: they follow the terminal's own theme.
const faint = "8"

var colours = map[Mark]string{MarkGood: "2", MarkBusy: "3", MarkBad: "1"}

// paint is the colour as a style; nothing at all without colour.
func paint(style Style, colour string) lipgloss.Style {
	if !style.Color || colour == "" {
		return lipgloss.NewStyle()
	}
	return lipgloss.NewStyle().Foreground(lipgloss.Color(colour))
}

// tsv is the form for cut and awk.
func (t Table) tsv() []byte {
	var b bytes.Buffer
	_ = t.delimited(&b, "\t") // a buffer takes everything
	return b.Bytes()
}

// delimited replaces what would break a row; nothing else is quoted.
func (t Table) delimited(w io.Writer, delimiter string) error {
	clean := strings.NewReplacer(delimiter, " ", "\n", " ", "\r", " ")
	var b strings.Builder
	keys := make([]string, 0, len(t.Columns))
	for _, c := range t.Columns {
		keys = append(keys, c.Key)
	}
	b.WriteString(strings.Join(keys, delimiter) + "\n")
	for _, row := range t.Rows {
		cells := make([]string, 0, len(row))
		for _, c := range row {
			cells = append(cells, clean.Replace(cmp.Or(c.Plain, c.Text)))
		}
		b.WriteString(strings.Join(cells, delimiter) + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// json keeps the columns' order, which a map would lose.
func (t Table) json() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('[')
	for i, row := range t.Rows {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteByte('{')
		first := true
		for j, cell := range row {
			if cell.Value == nil {
				continue
			}
			value, err := json.Marshal(cell.Value)
			if err != nil {
				return nil, fmt.Errorf("column %s: %w", t.Columns[j].Key, err)
			}
			if !first {
				b.WriteString(", ")
			}
			first = false
			fmt.Fprintf(&b, "%q: %s", t.Columns[j].Key, value)
		}
		b.WriteByte('}')
	}
	b.WriteString("]\n")
	return b.Bytes(), nil
}

func (t Table) yaml() ([]byte, error) {
	rows := make([]yaml.MapSlice, 0, len(t.Rows))
	for _, row := range t.Rows {
		item := yaml.MapSlice{}
		for j, cell := range row {
			if cell.Value == nil {
				continue
			}
			plain, err := plainValue(cell.Value)
			if err != nil {
				return nil, fmt.Errorf("column %s: %w", t.Columns[j].Key, err)
			}
			item = append(item, yaml.MapItem{Key: t.Columns[j].Key, Value: plain})
		}
		rows = append(rows, item)
	}
	return yaml.Marshal(rows)
}

// plainValue turns a value into maps, lists and scalars by way of its JSON form,
// so that YAML shows the same names as JSON.
func plainValue(v any) (any, error) {
	switch v.(type) {
	case string, bool, int, uint64, uint32:
		return v, nil
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var plain any
	err = yaml.Unmarshal(raw, &plain)
	return plain, err
}
