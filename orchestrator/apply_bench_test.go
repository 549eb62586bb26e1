package orchestrator

import (
	"fmt"
	"testing"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// Inputs for 64 labs, as they are applied one by one and together.
func BenchmarkApplyInputs(b *testing.B) {
	const labs = 64
	for _, together := range []int{1, 8, 64} {
		b.Run(fmt.Sprint("together=", together), func(b *testing.B) {
			store, err := newStore()
			if err != nil {
				b.Fatal(err)
			}
			f := newFSM(store)
			index := uint64(0)
			apply := func(cmds ...*controlv1.Command) {
				var logs []*raft.Log
				for _, cmd := range cmds {
					data, err := proto.Marshal(cmd)
					if err != nil {
						b.Fatal(err)
					}
					index++
					logs = append(logs, &raft.Log{Index: index, Type: raft.LogCommand, Data: data})
				}
				for _, answer := range f.ApplyBatch(logs) {
					if res, ok := answer.(result); !ok || res.refused != nil {
						b.Fatal(answer)
					}
				}
			}
			for i := range labs {
				apply(&controlv1.Command{RequestId: fmt.Sprint("lab", i), Kind: &controlv1.Command_CreateLab{
					CreateLab: &controlv1.CreateLab{LabId: fmt.Sprint("id", i), Spec: testSpec(fmt.Sprint("l", i))}}})
			}
			given := 0
			for b.Loop() {
				var cmds []*controlv1.Command
				for range together {
					in := &labv1.Input{Kind: &labv1.Input_Ping{Ping: &labv1.Ping{Id: fmt.Sprint("p", given), From: "a", To: "b", Count: 1}}}
					cmds = append(cmds, &controlv1.Command{RequestId: fmt.Sprint("request", given), Kind: &controlv1.Command_AppendInput{AppendInput: &controlv1.AppendInput{
						LabId: fmt.Sprint("id", given%labs), Epoch: 1, Entry: &labv1.JournalEntry{Index: uint64(given/labs + 1), TNs: int64(given), Input: in}}}})
					given++
				}
				apply(cmds...)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(given), "ns/input")
		})
	}
}
