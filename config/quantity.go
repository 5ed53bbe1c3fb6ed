package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// longest bounds durations: more than a century is a slip of the pen, and far
// below what a time.Duration can hold.
const longest = 100 * 366 * 24 * time.Hour

var timeUnits = map[string]time.Duration{
	"us": time.Microsecond, "ms": time.Millisecond, "s": time.Second,
	"min": time.Minute, "h": time.Hour, "d": 24 * time.Hour,
}

var sizeUnits = map[string]int64{"b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30, "tb": 1 << 40}

// splitQuantity takes "30 min" apart into 30 and "min".
func splitQuantity(text string) (number float64, unit string, ok bool) {
	text = strings.TrimSpace(text)
	end := strings.LastIndexAny(text, "0123456789.") + 1
	number, err := strconv.ParseFloat(text[:end], 64)
	if err != nil || math.IsNaN(number) || math.IsInf(number, 0) {
		return 0, "", false
	}
	return number, strings.TrimSpace(text[end:]), true
}

// parseDuration reads seconds, or a number with PostgreSQL's units.
func parseDuration(text string) (time.Duration, error) {
	number, unit, ok := splitQuantity(text)
	if unit == "" {
		unit = "s"
	}
	scale, known := timeUnits[unit]
	if !ok || !known {
		return 0, fmt.Errorf("must be seconds, or a number with us, ms, s, min, h or d")
	}
	if number < 0 {
		return 0, fmt.Errorf("must not be negative")
	}
	if number*float64(scale) > float64(longest) {
		return 0, fmt.Errorf("must be less than a century")
	}
	return time.Duration(math.Round(number * float64(scale))), nil
}

// minusOne is a duration that may also be -1, which is kept as a negative one.
type minusOne struct{ at *time.Duration }

func (minusOne) parse(text string) (time.Duration, error) {
	if strings.TrimSpace(text) == "-1" {
		return -1, nil
	}
	return parseDuration(text)
}

// parseSize reads bytes, or a number with PostgreSQL's units in any case.
func parseSize(text string) (int64, error) {
	if whole, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64); err == nil {
		return whole, nil
	}
	number, unit, ok := splitQuantity(text)
	if unit == "" {
		unit = "B"
	}
	scale, known := sizeUnits[strings.ToLower(unit)]
	if !ok || !known {
		return 0, fmt.Errorf("must be bytes, or a number with kB, MB, GB or TB")
	}
	bytes := number * float64(scale)
	if math.Abs(bytes) >= math.MaxInt64 {
		return 0, fmt.Errorf("must be less than 8 exabytes")
	}
	return int64(math.Round(bytes)), nil
}
