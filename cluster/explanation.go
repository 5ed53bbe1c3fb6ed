package cluster

// Explanation is what a member says when it is asked why it does what it does:
// GET /pgkeeper/explain, and `pgkeeper explain`. All texts are for people; Reason
// is for programs.
type Explanation struct {
	Scope  string `json:"scope"`
	Member string `json:"member"`
	// Verdict is the whole in one line.
	Verdict string `json:"verdict"`
	Reason  Reason `json:"reason"`
	// SinceMS is for how long the reason has stood, AgeMS how long ago the loop
	// last stepped, both in milliseconds.
	SinceMS int64 `json:"reason_since_ms"`
	AgeMS   int64 `json:"age_ms"`
	// Why is what is the case, Next what would have to change or what to do, Detail
	// the figures or the error.
	Why    string `json:"why"`
	Next   string `json:"next"`
	Detail string `json:"detail,omitempty"`
	// Observed is what the decision rests on, Decided what it does about it.
	Observed []Fact   `json:"observed"`
	Decided  []string `json:"decided,omitempty"`
	// ToPromote and ToFollow are what would have to change, first things first;
	// empty when this member is the primary, or follows one.
	ToPromote []string `json:"to_promote,omitempty"`
	ToFollow  []string `json:"to_follow,omitempty"`
	// Source says where this comes from when it is not the running agent.
	Source string `json:"source,omitempty"`
}

// Fact is one thing that was observed.
type Fact struct {
	What  string `json:"what"`
	Value string `json:"value"`
}
