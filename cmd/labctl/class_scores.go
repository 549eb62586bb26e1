package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"labd.dev/client"
	"labd.dev/internal/output"
	labv1 "labd.dev/proto/lab/v1"
)

// scoresOptions are scores' flags.
type scoresOptions struct {
	*app
	format  scoresFormat
	section string
	person  string
	out     string
}

// scoresFormat is how marks are written.
type scoresFormat string

var scoresFormats = []string{"table", "wide", "json", "jsonl", "csv", "gradescope", "junit"}

func (f *scoresFormat) String() string { return string(*f) }
func (f *scoresFormat) Type() string   { return "format" }

func (f *scoresFormat) Set(text string) error {
	if !slices.Contains(scoresFormats, text) {
		return fmt.Errorf("must be one of %s", strings.Join(scoresFormats, ", "))
	}
	*f = scoresFormat(text)
	return nil
}

func newScoresCommand(a *app) *cobra.Command {
	o := &scoresOptions{app: a, format: "table"}
	cmd := &cobra.Command{
		Use: "scores LAB", Short: "Print marks: a table, CSV, Gradescope's results.json or JUnit's XML",
		Long: `Print the marks of a published lab: of each student the submission that counts, and what each check came to. Hidden checks
are among them once the deadline is over.

  csv         a line a student, a column a check
  gradescope  results.json as Gradescope's autograders write it: one student's (--user) to standard output, or with
              --out DIR a directory a student
  junit       a test suite a student, a test case a check`,
		Example: "  labctl class scores lab1\n  labctl class scores lab1 -o csv > lab1.csv\n  labctl class scores lab1 -o gradescope --out marks",
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, c *client.Client) error { return o.run(ctx, c, args[0]) })
		},
	}
	f := cmd.Flags()
	f.VarP(&o.format, "output", "o", "how to print: "+strings.Join(scoresFormats, ", "))
	f.StringVar(&o.section, "section", "", "only this section")
	f.StringVar(&o.person, "user", "", "only this student")
	f.StringVar(&o.out, "out", "", "gradescope: write DIR/STUDENT/results.json")
	return cmd
}

func (o *scoresOptions) run(ctx context.Context, c *client.Client, lab string) error {
	if o.format == "gradescope" && o.out == "" && o.person == "" {
		return &usageError{"-o gradescope writes one student's results.json to standard output (--user NAME), or all students' with --out DIR"}
	}
	r, err := c.Classes.GetScores(ctx, &labv1.GetScoresRequest{Template: lab, Section: o.section, Person: o.person})
	if err != nil {
		return err
	}
	if o.person != "" && len(r.GetSubmissions()) == 0 {
		return &client.Error{Code: client.CodeNotFound, Message: fmt.Sprintf("no student %q in %s", o.person, lab)}
	}
	switch o.format {
	case "csv":
		return writeScoresCSV(o.app.out, r)
	case "junit":
		return writeJUnit(o.app.out, r)
	case "gradescope":
		return o.gradescope(r)
	}
	var f output.Format
	if err := f.Set(string(o.format)); err != nil {
		return err
	}
	return f.Write(o.app.out, scoreList(r))
}

func scoreList(r *labv1.GetScoresResponse) *output.List {
	l := &output.List{Columns: []string{"STUDENT", "SECTION", "ATTEMPT", "SUBMITTED", "LATE", "GRADE", "POINTS", "SCORE", "OF", "ERROR"},
		Brief: &output.Brief{Columns: []string{"STUDENT", "SECTION", "SUBMITTED", "LATE", "GRADE", "SCORE", "OF"}}}
	for _, s := range r.GetSubmissions() {
		submitted, grade := "-", "-"
		if s.GetAttempt() > 0 {
			submitted, grade = wallText(s.GetSubmittedAt().AsTime()), output.EnumText(s.GetState())
		}
		l.Add(s, s.GetPerson(), s.GetSection(), fmt.Sprint(s.GetAttempt()), submitted, daysLate(s.GetDaysLate()), grade, number(s.GetPoints()), number(s.GetScore()),
			number(s.GetMaxPoints()), s.GetError())
		l.Brief.Add(s.GetError(), s.GetPerson(), s.GetSection(), submitted, daysLate(s.GetDaysLate()), grade, number(s.GetScore()), number(s.GetMaxPoints()))
	}
	return l
}

// checkIDs lists the checks that any submission was judged by, in the order in which they come.
func checkIDs(list []*labv1.Submission) []string {
	var ids []string
	for _, s := range list {
		for _, r := range s.GetResults() {
			if !slices.Contains(ids, r.GetId()) {
				ids = append(ids, r.GetId())
			}
		}
	}
	return ids
}

func earned(r *labv1.CheckResult) float64 {
	if r.GetOk() {
		return r.GetPoints()
	}
	return 0
}

func writeScoresCSV(w io.Writer, r *labv1.GetScoresResponse) error {
	ids := checkIDs(r.GetSubmissions())
	out := csv.NewWriter(w)
	rows := [][]string{append([]string{"person", "section", "email", "attempt", "submitted_at", "days_late", "state", "points", "score", "max_points", "error"}, ids...)}
	for _, s := range r.GetSubmissions() {
		at, state := "", "none"
		if s.GetAttempt() > 0 {
			at, state = s.GetSubmittedAt().AsTime().UTC().Format(time.RFC3339), output.EnumText(s.GetState())
		}
		row := []string{s.GetPerson(), s.GetSection(), s.GetEmail(), fmt.Sprint(s.GetAttempt()), at, fmt.Sprint(s.GetDaysLate()), state,
			number(s.GetPoints()), number(s.GetScore()), number(s.GetMaxPoints()), s.GetError()}
		for _, id := range ids {
			cell := ""
			for _, c := range s.GetResults() {
				if c.GetId() == id {
					cell = number(earned(c))
				}
			}
			row = append(row, cell)
		}
		rows = append(rows, row)
	}
	for _, row := range rows {
		for i := range row {
			row[i] = plainCell(row[i])
		}
	}
	return out.WriteAll(rows)
}

// plainCell keeps a spreadsheet from taking a text for a formula.
func plainCell(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r", rune(text[0])) {
		return "'" + text
	}
	return text
}

// gradescopeResults is results.json: gradescope-autograders.readthedocs.io, "Output Format".
type gradescopeResults struct {
	Score  float64          `json:"score"`
	Output string           `json:"output,omitempty"`
	Tests  []gradescopeTest `json:"tests"`
}

type gradescopeTest struct {
	Score      float64 `json:"score"`
	MaxScore   float64 `json:"max_score"`
	Status     string  `json:"status"` // passed | failed
	Name       string  `json:"name"`
	Output     string  `json:"output,omitempty"`
	Visibility string  `json:"visibility"`
}

// found says what a check found, and where to look if it failed.
func found(c *labv1.CheckResult) string {
	text := c.GetGot()
	if len(c.GetLook()) > 0 {
		text += "\nsee " + strings.Join(c.GetLook(), "; ")
	}
	if c.GetHint() != "" {
		text += "\n" + c.GetHint()
	}
	return text
}

func gradescopeOf(s *labv1.Submission) *gradescopeResults {
	g := &gradescopeResults{Score: s.GetScore(), Output: s.GetError(), Tests: []gradescopeTest{}}
	switch {
	case s.GetAttempt() == 0:
		g.Output = "nothing was submitted"
	case s.GetDaysLate() > 0:
		g.Output = strings.TrimSpace(fmt.Sprintf("%s late: %s of %s points count\n%s", daysLate(s.GetDaysLate()), number(s.GetScore()), number(s.GetPoints()), s.GetError()))
	}
	for _, c := range s.GetResults() {
		t := gradescopeTest{Score: earned(c), MaxScore: c.GetPoints(), Status: "passed", Name: c.GetId(), Output: found(c), Visibility: "visible"}
		if !c.GetOk() {
			t.Status = "failed"
		}
		g.Tests = append(g.Tests, t)
	}
	return g
}

func (o *scoresOptions) gradescope(r *labv1.GetScoresResponse) error {
	for _, s := range r.GetSubmissions() {
		b, err := json.MarshalIndent(gradescopeOf(s), "", "  ")
		if err != nil {
			return err
		}
		b = append(b, '\n')
		if o.out == "" {
			_, err := o.app.out.Write(b)
			return err
		}
		dir := filepath.Join(o.out, s.GetPerson())
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return &usageError{err.Error()}
		}
		if err := os.WriteFile(filepath.Join(dir, "results.json"), b, 0o600); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(o.app.out, "%d students' results.json are in %s\n", len(r.GetSubmissions()), o.out)
	return err
}

// What JUnit's XML consists of, as Jenkins and GitLab read it.
type (
	junitSuites struct {
		XMLName xml.Name     `xml:"testsuites"`
		Name    string       `xml:"name,attr"`
		Suites  []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name      string      `xml:"name,attr"`
		Tests     int         `xml:"tests,attr"`
		Failures  int         `xml:"failures,attr"`
		Errors    int         `xml:"errors,attr"`
		Skipped   int         `xml:"skipped,attr"`
		Timestamp string      `xml:"timestamp,attr,omitempty"`
		Cases     []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Failure *junitMessage `xml:"failure"`
		Error   *junitMessage `xml:"error"`
		Skipped *junitMessage `xml:"skipped"`
	}
	junitMessage struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

func writeJUnit(w io.Writer, r *labv1.GetScoresResponse) error {
	all := junitSuites{Name: r.GetTemplate().GetName()}
	for _, s := range r.GetSubmissions() {
		suite := junitSuite{Name: s.GetPerson()}
		class := all.Name + "." + s.GetPerson()
		if s.GetAttempt() > 0 {
			suite.Timestamp = s.GetSubmittedAt().AsTime().UTC().Format("2006-01-02T15:04:05")
		}
		for _, c := range s.GetResults() {
			one := junitCase{Class: class, Name: c.GetId()}
			if !c.GetOk() {
				suite.Failures++
				one.Failure = &junitMessage{Message: c.GetGot(), Text: found(c)}
			}
			suite.Cases = append(suite.Cases, one)
		}
		switch {
		case s.GetAttempt() == 0:
			suite.Skipped = 1
			suite.Cases = append(suite.Cases, junitCase{Class: class, Name: "submission", Skipped: &junitMessage{Message: "nothing was submitted"}})
		case s.GetError() != "":
			suite.Errors = 1
			suite.Cases = append(suite.Cases, junitCase{Class: class, Name: "submission", Error: &junitMessage{Message: s.GetError()}})
		}
		suite.Tests = len(suite.Cases)
		all.Suites = append(all.Suites, suite)
	}
	b, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, b)
	return err
}
