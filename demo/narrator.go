package demo

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// narrator tells the story: lines that stay, and on a terminal one line that
// shows how a wait comes along.
type narrator struct {
	out      io.Writer
	terminal bool
	// shown is the progress on screen, at when it last changed.
	shown string
	at    time.Time
}

// quietFor is how often progress is repeated where nobody can overwrite a line.
const quietFor = 2 * time.Second

const indent = "      "

// step opens a chapter.
func (n *narrator) step(number, of int, title string) {
	n.clear()
	fmt.Fprintf(n.out, "\n[%d/%d] %s\n", number, of, title)
}

// say prints a line of the chapter.
func (n *narrator) say(format string, args ...any) {
	n.clear()
	fmt.Fprintf(n.out, indent+format+"\n", args...)
}

// block prints a text of several lines as it is.
func (n *narrator) block(text string) {
	n.clear()
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		fmt.Fprintln(n.out, strings.TrimRight(indent+line, " "))
	}
}

// progress shows how far a wait is: on a terminal in one line that the next one
// replaces, else as lines, not too many.
func (n *narrator) progress(text string) {
	if text == "" || text == n.shown {
		return
	}
	if n.terminal {
		fmt.Fprint(n.out, "\r\x1b[K"+indent+"... "+text)
		n.shown = text
		return
	}
	if now := time.Now(); now.Sub(n.at) >= quietFor {
		fmt.Fprintln(n.out, indent+"... "+text)
		n.shown, n.at = text, now
	}
}

// clear removes the line of progress.
func (n *narrator) clear() {
	if n.terminal && n.shown != "" {
		fmt.Fprint(n.out, "\r\x1b[K")
	}
	n.shown, n.at = "", time.Now()
}

// seconds writes a duration as people compare them.
func seconds(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

// thousands groups digits: 1,234,567.
func thousands(n int64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
