package experiment

import (
	"path/filepath"
	"slices"

	"labd.dev/experiment/checks"
	"labd.dev/internal/validate"
	"labd.dev/labfile/schema"
	labv1 "labd.dev/proto/lab/v1"
)

// checkFile is a file of checks for a class.
type checkFile struct{ checks []*labv1.Check }

var classVerbs = slices.Concat(verbs, []schema.Key[labv1.Check]{
	schema.Nested("answer", "answer", "A value that was read off the trace.", answer, func(c *labv1.Check) *labv1.AnswerCheck {
		v := &labv1.AnswerCheck{Of: &labv1.EventSelector{}}
		c.Verb = &labv1.Check_Answer{Answer: v}
		return v
	}),
})

// classCheck is a check of a class's lab.
var classCheck = &schema.Object[labv1.Check]{
	Name: "check of a class",
	Doc:  "What must hold of the events of a submitted lab: an experiment's [check](experiment.md#check), and besides",
	Keys: slices.Concat(commonKeys, []schema.Key[labv1.Check]{
		schema.Switch("hidden", "hidden", "Judged after the deadline only, and not shown before; absent: students see it, and may try it as often as they like.", func(c *labv1.Check, on bool) { c.Hidden = on }),
	}, classVerbs),
	Choices:    choicesOf(classVerbs),
	MustChoose: true,
}

var checkTable = &schema.Object[checkFile]{
	Name: "checks file",
	Keys: []schema.Key[checkFile]{
		schema.List("checks", "", "What a submission is worth.", classCheck, func(f *checkFile) *labv1.Check {
			c := newCheck()
			f.checks = append(f.checks, c)
			return c
		}).Must(),
	},
}

// LoadChecks reads a file of checks for a class. Its error, if the file can be read at all, is a *schema.Error or
// *schema.Errors.
func LoadChecks(path string) ([]*labv1.Check, error) {
	src, err := schema.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return ParseChecks(path, src)
}

// ParseChecks reads the bytes of a file of checks.
func ParseChecks(path string, src []byte) ([]*labv1.Check, error) {
	d, err := schema.NewDecoder(path, filepath.Dir(path), src)
	if err != nil {
		return nil, err
	}
	f := &checkFile{}
	schema.Decode(d, checkTable, f)
	refuse(d, "", checks.Validate(f.checks))
	if err := d.Err(); err != nil {
		return nil, err
	}
	return f.checks, nil
}

// refuse tells the decoder what is wrong with the message that it read into a field.
func refuse(d *schema.Decoder, field string, list []validate.Violation) {
	for _, v := range list {
		d.Refuse(d.Place(field+v.Path), v.Message, v.Suggestion)
	}
}
