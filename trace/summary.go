package trace

// Summary is the outcome of a run: what `run -o json` prints and summary.json holds. Field names are stable.
type Summary struct {
	RunDir    string            `json:"run_dir"`
	Clock     string            `json:"clock"` // real | virtual
	Seed      uint64            `json:"seed"`
	EndNs     int64             `json:"end_ns"`  // lab time at which the run ended
	Partial   bool              `json:"partial"` // it was interrupted
	Transfers []TransferSummary `json:"transfers"`
	Checks    []CheckSummary    `json:"checks"`
	Error     string            `json:"error"` // empty: none
}

// TransferSummary is one transfer's outcome.
type TransferSummary struct {
	ID          string  `json:"id"`
	Conn        string  `json:"conn"` // "client/3"; empty: UDP, or never opened
	From        string  `json:"from"`
	To          string  `json:"to"`
	Bytes       uint64  `json:"bytes"`
	SHA256      string  `json:"sha256"`
	Match       bool    `json:"match"`
	StartNs     int64   `json:"start_ns"`
	DurationNs  int64   `json:"duration_ns"`
	GoodputBps  float64 `json:"goodput_bps"`
	Retransmits uint64  `json:"retransmits"`
	SRTTUs      int64   `json:"srtt_us"`
	Error       string  `json:"error"`
}

// CheckSummary is one check's outcome.
type CheckSummary struct {
	ID     string   `json:"id"`
	OK     bool     `json:"ok"`
	Points float64  `json:"points"`         // what it is worth
	Got    string   `json:"got"`            // what was found, in words: "3 events, wanted 1"
	Events []Event  `json:"events"`         // the events that decided it
	Look   []string `json:"look,omitempty"` // where to see why it failed: a command, and a lab time
	Hint   string   `json:"hint,omitempty"` // the check's own, when it failed
}

// Normalize makes absent lists empty ones, so that the JSON always holds lists.
func (s *Summary) Normalize() {
	if s.Transfers == nil {
		s.Transfers = []TransferSummary{}
	}
	if s.Checks == nil {
		s.Checks = []CheckSummary{}
	}
	for i := range s.Checks {
		if s.Checks[i].Events == nil {
			s.Checks[i].Events = []Event{}
		}
	}
}
