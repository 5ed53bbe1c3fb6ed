package restapi

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// writeText answers with one line for people, as Patroni does: no newline.
func writeText(w http.ResponseWriter, code int, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text)) // the asker is gone: nobody is left to tell
}

// writeJSON answers with a value. What it is given always has a JSON form but for
// foreign tag values; then the answer is 500 with the reason.
func writeJSON(w http.ResponseWriter, code int, value any) {
	data, err := json.Marshal(value)
	if err != nil {
		writeText(w, http.StatusInternalServerError, "write the answer as JSON: "+err.Error())
		return
	}
	h := w.Header()
	h["Content-Type"] = contentJSON
	h.Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(code)
	_, _ = w.Write(data) // the asker is gone: nobody is left to tell
}

// quotePath shows a path in an answer, cut to a length a person reads.
func quotePath(path string) string {
	const longest = 80
	if len(path) > longest {
		path = path[:longest] + "..."
	}
	return strconv.Quote(path)
}
