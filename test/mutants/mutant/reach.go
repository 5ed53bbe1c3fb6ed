package mutant

import (
	"fmt"
	"os"
	"sync"
)

// ReachEnv names the variable with a file that gets a line "guard/change" for every
// mutant that would have made a difference to this process: one that is not in it would
// have been the product. A mutant of one operand is not told of.
const ReachEnv = "PGKEEPER_MUTANT_REACH"

// reached is nil unless somebody wants to know.
var reached = record(os.Getenv(ReachEnv))

type reach struct {
	mu   sync.Mutex
	seen map[string]bool
	file *os.File
}

func record(path string) *reach {
	if path == "" {
		return nil
	}
	file, err := os.Create(path)
	if err != nil {
		die(err)
	}
	return &reach{seen: map[string]bool{}, file: file}
}

// note is written at once: nobody tells a package that its process ends.
func (r *reach) note(guard, change string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := guard + "/" + change
	if r.seen[name] {
		return
	}
	r.seen[name] = true
	if _, err := r.file.WriteString(name + "\n"); err != nil {
		die(err)
	}
}

// die ends the process: a file that lacks lines would be believed.
func die(err error) {
	fmt.Fprintln(os.Stderr, "panic: the file of", ReachEnv+":", err)
	os.Exit(2) //nolint:forbidigo // nobody above it could end the process: a guard has no error to return
}
