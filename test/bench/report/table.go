package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Begin and End are the lines between which a page holds the table.
const (
	Begin = "<!-- bench:begin -->"
	End   = "<!-- bench:end -->"
)

// Table is the table in Markdown, of the latest build of each system in trials.
func Table(trials []Trial) string {
	var b strings.Builder
	b.WriteString("| | median (min–max), n | must reach | aim | | Patroni: median (min–max), n |\n|---|---|---|---|---|---|\n")
	for _, row := range Rows() {
		own, measured := Summarize(Latest(trials, row.ID, Keeper))
		peer := summaryOf(trials, row.ID, Patroni)
		verdict, shown := Open, "not measured"
		if measured {
			verdict, shown = row.Judge(own, peer), row.cell(own)
		}
		other := "–"
		if peer != nil {
			other = row.cell(*peer)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", row.Title, shown, row.limit(row.Must, row.MustText), row.limit(row.Aim, row.AimText), verdict, other)
	}
	return b.String()
}

func summaryOf(trials []Trial, row, system string) *Summary {
	s, ok := Summarize(Latest(trials, row, system))
	if !ok {
		return nil
	}
	return &s
}

// cell is one summary as the table shows it.
func (r Row) cell(s Summary) string {
	return fmt.Sprintf("%s (%s–%s), %d", r.Show(s.Median), r.number(s.Min), r.number(s.Max), s.N)
}

func (r Row) limit(value float64, words string) string {
	if words != "" {
		return words
	}
	return r.Show(value)
}

// Show is a value with its unit. Times of rows whose limit is 50 ms or less are shown in milliseconds.
func (r Row) Show(v float64) string {
	switch {
	case r.Unit == Count:
		return r.number(v)
	case v == 0 && r.Unit == Seconds:
		return "0"
	case r.Unit == PerSecond, r.Unit == PerMinute:
		return r.number(v) + string(r.Unit)
	case r.small():
		return r.number(v) + " ms"
	}
	return r.number(v) + " " + string(r.Unit)
}

// small rows are those.
func (r Row) small() bool { return r.Unit == Seconds && r.Must > 0 && r.Must <= 0.05 }

func (r Row) number(v float64) string {
	switch {
	case r.small():
		return strconv.FormatFloat(v*1000, 'f', 2, 64)
	case r.Unit == PerSecond:
		return thousands(int64(math.Round(v)))
	case r.Unit == PerMinute, r.Unit == Count:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v == 0:
		return "0"
	case r.Unit == MiB, r.Unit == Micros:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// thousands groups digits as 12,345.
func thousands(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// Insert puts the table between the marks of page. A page without marks is an error.
func Insert(page, table string) (string, error) {
	before, rest, ok := strings.Cut(page, Begin)
	if !ok {
		return "", fmt.Errorf("the page has no line %s: add it, and %s after it, where the table belongs", Begin, End)
	}
	_, after, ok := strings.Cut(rest, End)
	if !ok {
		return "", fmt.Errorf("the page has %s without %s after it", Begin, End)
	}
	return before + Begin + "\n" + table + End + after, nil
}
