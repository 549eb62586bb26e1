package orchestrator

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	labv1 "labd.dev/proto/lab/v1"
)

// A lost answer leaves open whether a change was made, so every call that makes one can be sent again under its id.
func TestEveryMutationHasARequestID(t *testing.T) {
	reads := []string{"Get", "List", "Watch", "Read", "Missing", "WhoAmI"}
	// Content is known by its SHA-256, which is id enough.
	// A replay leaves nothing behind, nor does a trial of checks. Who the servers are, who leads and what the state is made of are outside of the state:
	// made so twice is made so once.
	except := map[protoreflect.FullName]bool{"lab.v1.FileService.UploadFile": true, "lab.v1.ReplayService.ReplayRun": true, "lab.v1.ClassService.CheckInstance": true,
		"lab.v1.ClusterService.AddMember": true, "lab.v1.ClusterService.RemoveMember": true,
		"lab.v1.ClusterService.TransferLeadership": true, "lab.v1.ClusterService.RestoreSnapshot": true}
	services := 0
	protoregistry.GlobalFiles.RangeFilesByPackage("lab.v1", func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			services++
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				m := methods.Get(j)
				reading := false
				for _, prefix := range reads {
					reading = reading || strings.HasPrefix(string(m.Name()), prefix)
				}
				has := m.Input().Fields().ByName("request_id") != nil
				if has == reading && !except[m.FullName()] {
					t.Errorf("%s: request_id %v, and by its name it reads: %v", m.FullName(), has, reading)
				}
			}
		}
		return true
	})
	if services < 19 {
		t.Fatalf("only %d services walked", services)
	}
}

// Each reason has a code of its own choice; none falls back on OK, which is no error.
func TestEveryReasonHasACode(t *testing.T) {
	for number, name := range labv1.ErrorReason_name {
		reason := labv1.ErrorReason(number)
		if reason != labv1.ErrorReason_ERROR_REASON_UNSPECIFIED && codeOf[reason] == codes.OK {
			t.Errorf("%s has no code", name)
		}
	}
}
