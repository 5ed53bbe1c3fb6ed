package pgrw

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// through sends a request with cookies and a header through Middleware.
func through(t *testing.T, cookie, header string, handler http.HandlerFunc) *http.Response {
	t.Helper()
	request := httptest.NewRequest(http.MethodPost, "/", nil)
	if cookie != "" {
		request.AddCookie(&http.Cookie{Name: TokenCookie, Value: cookie})
	}
	if header != "" {
		request.Header.Set(TokenHeader, header)
	}
	answer := httptest.NewRecorder()
	Middleware(handler).ServeHTTP(answer, request)
	return answer.Result()
}

func TestTheTokenOfAWriteLeavesWithTheAnswer(t *testing.T) {
	token := Token{7, 1, 0x2000}
	for name, finish := range map[string]func(http.ResponseWriter){
		"without a body": func(http.ResponseWriter) {},
		"with a body":    func(w http.ResponseWriter) { _, _ = w.Write([]byte("x")) },
		"with a status":  func(w http.ResponseWriter) { w.WriteHeader(http.StatusSeeOther) },
	} {
		answer := through(t, "", "", func(w http.ResponseWriter, r *http.Request) {
			SessionFrom(r.Context()).Advance(token)
			finish(w)
		})
		cookies := answer.Cookies()
		if answer.Header.Get(TokenHeader) != token.String() || len(cookies) != 1 || cookies[0].Value != token.String() || !cookies[0].HttpOnly {
			t.Errorf("%s: header %q, cookies %v", name, answer.Header.Get(TokenHeader), cookies)
		}
	}
}

func TestTheTokenOfARequestIsDemandedAndNotSentBack(t *testing.T) {
	low, high := Token{7, 1, 0x1000}, Token{7, 1, 0x2000}
	for name, c := range map[string]struct {
		cookie, header string
		want           Token
	}{
		"a cookie":               {low.String(), "", low},
		"a header":               {"", high.String(), high},
		"both, the header later": {low.String(), high.String(), high},
		"both, the cookie later": {high.String(), low.String(), high},
		"nonsense":               {"x", "1-2-3", Token{}},
	} {
		var got Token
		answer := through(t, c.cookie, c.header, func(_ http.ResponseWriter, r *http.Request) { got = TokenFrom(r.Context()) })
		if got != c.want || len(answer.Cookies()) != 0 {
			t.Errorf("%s: demanded %v, want %v; cookies %v", name, got, c.want, answer.Cookies())
		}
	}
}
