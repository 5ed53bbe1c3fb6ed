package guard

import "errors"

// What the guard refuses, and why. They cross the socket as codes, so that
// errors.Is works on both sides.
var (
	// ErrSuperseded says that a worker with a higher session has taken over.
	ErrSuperseded = errors.New("superseded by a newer worker session")
	// ErrStaleSession refuses a hello whose session is not above every earlier one.
	ErrStaleSession = errors.New("worker session is not newer than the last one")
	// ErrNoSession refuses a request on a connection that has not said hello.
	ErrNoSession = errors.New("connection has not said hello")
	// ErrStaleTerm refuses a term other than the one the deadline belongs to.
	ErrStaleTerm = errors.New("term is not the current one")
	// ErrTermEnded refuses a term that was ended or whose deadline has fired.
	ErrTermEnded = errors.New("term has ended")
	// ErrNoDeadline refuses what needs a deadline in the future.
	ErrNoDeadline = errors.New("deadline is missing or has passed")
	// ErrDeadlineTooFar refuses a deadline more than ten minutes ahead.
	ErrDeadlineTooFar = errors.New("deadline is too far ahead")
	// ErrStandbySignal refuses a start that contradicts standby.signal.
	ErrStandbySignal = errors.New("standby.signal does not fit the requested start")
	// ErrServerRunning refuses what needs the guard to hold no server.
	ErrServerRunning = errors.New("a server is running")
	// ErrNoServer refuses what needs the guard to hold a running server.
	ErrNoServer = errors.New("no server is running")
	// ErrLeftovers refuses a start while processes use the data directory.
	ErrLeftovers = errors.New("processes still use the data directory")
	// ErrBusy refuses a request while an earlier one is not finished.
	ErrBusy = errors.New("an earlier request is not finished")
	// ErrStopping refuses a request to a guard that is about to exit.
	ErrStopping = errors.New("guard is stopping")
	// ErrBadRequest refuses a request that makes no sense in any state.
	ErrBadRequest = errors.New("bad request")
	// ErrUnknownRequest is how an older guard answers a request it does not know.
	ErrUnknownRequest = errors.New("unknown request")
	// ErrFailed says that the guard tried and the operating system refused.
	ErrFailed = errors.New("guard could not do it")
	// ErrNoWatchdog refuses what needs the watchdog that is required.
	ErrNoWatchdog = errors.New("the required watchdog cannot be armed")
	// ErrDisconnected says that the connection to the guard is gone.
	ErrDisconnected = errors.New("guard connection lost")
	// ErrGuardRunning says that another guard holds the runtime directory.
	ErrGuardRunning = errors.New("another guard is running")
)

var codes = []struct {
	code string
	err  error
}{
	{"superseded", ErrSuperseded},
	{"stale_session", ErrStaleSession},
	{"no_session", ErrNoSession},
	{"stale_term", ErrStaleTerm},
	{"term_ended", ErrTermEnded},
	{"no_deadline", ErrNoDeadline},
	{"deadline_too_far", ErrDeadlineTooFar},
	{"standby_signal", ErrStandbySignal},
	{"server_running", ErrServerRunning},
	{"no_server", ErrNoServer},
	{"leftovers", ErrLeftovers},
	{"busy", ErrBusy},
	{"stopping", ErrStopping},
	{"bad_request", ErrBadRequest},
	{"unknown_request", ErrUnknownRequest},
	{"no_watchdog", ErrNoWatchdog},
}

// RemoteError is a refusal as it came over the socket. It unwraps to its sentinel.
type RemoteError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (e *RemoteError) Error() string { return "guard: " + e.Message }

// Unwrap returns the sentinel of the code; an unknown code is ErrFailed.
func (e *RemoteError) Unwrap() error {
	for _, c := range codes {
		if c.code == e.Code {
			return c.err
		}
	}
	return ErrFailed
}

// remote turns an error into what is sent; everything without a code is "failed".
func remote(err error) *RemoteError {
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return &RemoteError{Code: c.code, Message: err.Error()}
		}
	}
	return &RemoteError{Code: "failed", Message: err.Error()}
}
