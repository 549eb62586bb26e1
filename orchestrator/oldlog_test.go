package orchestrator

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"google.golang.org/protobuf/proto"

	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// logBeforeBounds are commands as they were written before there were bounds on connections, on what is recorded and on how long
// a lab may stand unused: of a student who opens more than a student may now.
func logBeforeBounds() []any {
	crowd := runOf("bob", 1)
	for i := range uint64(12_000) {
		crowd.Journal = append(crowd.Journal, &labv1.JournalEntry{Index: i + 1, Input: &labv1.Input{Kind: &labv1.Input_Transfer{Transfer: &labv1.Transfer{}}}})
	}
	return []any{
		labOf("bob", 0), labOf("bob", 1), labOf("ivy", 0), crowd, &controlv1.EndRun{RunId: "bob.r1"}, runOf("bob", 2), appendInput("bob.0", 1, 1),
		&controlv1.SetQuota{User: "bob", Limits: []*labv1.QuotaLimit{atMost(labv1.QuotaSubject_QUOTA_SUBJECT_LABS, 3)}},
		&controlv1.AssignLab{LabId: "bob.0", Epoch: 1, Workers: []string{"v"}, ReachedNs: 9}, &controlv1.ReleaseLab{LabId: "bob.1"},
		&controlv1.DeleteLab{LabId: "ivy.0"}, labOf("bob", 2),
	}
}

// A log that was written before a kind of quota was known comes to the state that it came to then: nothing of it is refused for
// what nobody asked of it, and nothing is added. The sum was made by the version before.
func TestLogFromBeforeTheBounds(t *testing.T) {
	m := enrolled(t)
	for _, cmd := range logBeforeBounds() {
		m.want("", cmd)
	}
	sum := sha256.New()
	for _, table := range []string{tableLabs, tableRuns, tableQuotas} {
		for _, object := range objects(m, table) {
			b, err := proto.MarshalOptions{Deterministic: true}.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			sum.Write(b)
		}
	}
	const before = "950838b74872aade1fc55068a4a1bbf4a3d33f5220bb18636a4283833ae5d189"
	if got := hex.EncodeToString(sum.Sum(nil)); got != before {
		t.Errorf("it comes to %s, and came to %s", got, before)
	}
}
