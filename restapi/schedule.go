package restapi

import (
	"net/http"
	"strings"
	"time"
)

// zonedForms are the time formats taken, all with a zone: ISO 8601 as people and
// tools write it, and what patronictl sends.
var zonedForms = []string{
	"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05Z07", "2006-01-02T15:04:05 Z07:00",
	"2006-01-02T15:04Z07:00", "2006-01-02T15:04Z0700", "2006-01-02T15:04Z07", "2006-01-02T15:04 Z07:00",
}

// bareForms are the same without a zone, to tell what is missing.
var bareForms = []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"}

// storedForm is how a scheduled time is written to the store: Patroni's.
const storedForm = "2006-01-02T15:04:05.999999-07:00"

// parseSchedule reads a time to come: 400 without a zone, 422 when it is no time
// or past.
func (s *Server) parseSchedule(field, text string) (string, *answer) {
	normal := strings.Replace(strings.TrimSpace(text), " ", "T", 1)
	normal = strings.TrimSuffix(normal, " UTC")
	if strings.HasSuffix(strings.TrimSpace(text), " UTC") {
		normal += "Z"
	}
	for _, form := range bareForms {
		if _, err := time.Parse(form, normal); err == nil {
			a := refuse(http.StatusBadRequest, "field %q is %q: a time zone is mandatory, such as +00:00", field, text)
			return "", &a
		}
	}
	for _, form := range zonedForms {
		at, err := time.Parse(form, normal)
		if err != nil {
			continue
		}
		if !at.After(s.options.Wall()) {
			a := refuse(http.StatusUnprocessableEntity, "field %q is %q: this time is past", field, text)
			return "", &a
		}
		return at.Format(storedForm), nil
	}
	a := refuse(http.StatusUnprocessableEntity, "field %q is %s: want a time in ISO 8601 with a zone, such as 2030-01-31T03:00:00+00:00", field, clip([]byte(text)))
	return "", &a
}
