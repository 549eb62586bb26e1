package orchestrator

import (
	"fmt"

	labv1 "labd.dev/proto/lab/v1"
)

// inputID is the id of what an input makes: a transfer, a command or a fault.
func inputID(in *labv1.Input) string {
	switch k := in.GetKind().(type) {
	case *labv1.Input_Transfer:
		return k.Transfer.GetId()
	case *labv1.Input_HttpGet:
		return k.HttpGet.GetId()
	case *labv1.Input_Udp:
		return k.Udp.GetId()
	case *labv1.Input_Ping:
		return k.Ping.GetId()
	case *labv1.Input_Traceroute:
		return k.Traceroute.GetId()
	case *labv1.Input_Fault:
		return k.Fault.GetId()
	}
	return ""
}

func setInputID(in *labv1.Input, id string) {
	switch k := in.GetKind().(type) {
	case *labv1.Input_Transfer:
		k.Transfer.Id = id
	case *labv1.Input_HttpGet:
		k.HttpGet.Id = id
	case *labv1.Input_Udp:
		k.Udp.Id = id
	case *labv1.Input_Ping:
		k.Ping.Id = id
	case *labv1.Input_Traceroute:
		k.Traceroute.Id = id
	case *labv1.Input_Fault:
		k.Fault.Id = id
	}
}

// idPrefix starts the ids that are given to what an input makes; empty if it makes nothing that has an id.
func idPrefix(in *labv1.Input) string {
	switch in.GetKind().(type) {
	case *labv1.Input_Transfer, *labv1.Input_HttpGet, *labv1.Input_Udp:
		return "t"
	case *labv1.Input_Ping, *labv1.Input_Traceroute:
		return "e"
	case *labv1.Input_Fault:
		return "f"
	}
	return ""
}

// assignIDs names what the inputs of a run make and was given no name: t1, t2, ... in the order of the journal, leaving
// out what is taken. Two of one kind with one id are refused.
func assignIDs(entries []*labv1.JournalEntry) *Refusal {
	taken := make(map[string]bool)
	for _, e := range entries {
		prefix, id := idPrefix(e.GetInput()), inputID(e.GetInput())
		if id == "" {
			continue
		}
		if taken[prefix+" "+id] {
			return refuse(labv1.ErrorReason_ERROR_REASON_INVALID, "two inputs have the id %q", id)
		}
		taken[prefix+" "+id] = true
	}
	next := map[string]int{}
	for _, e := range entries {
		prefix := idPrefix(e.GetInput())
		if prefix == "" || inputID(e.GetInput()) != "" {
			continue
		}
		for {
			next[prefix]++
			id := fmt.Sprintf("%s%d", prefix, next[prefix])
			if !taken[prefix+" "+id] {
				setInputID(e.GetInput(), id)
				break
			}
		}
	}
	return nil
}

// inputFiles lists the content that an input names.
func inputFiles(in *labv1.Input) []*labv1.FileRef {
	if f := in.GetTransfer().GetFile(); f != nil {
		return []*labv1.FileRef{f}
	}
	return nil
}

// specFiles lists the content that a lab's nodes serve.
func specFiles(spec *labv1.LabSpec) []*labv1.FileRef {
	var files []*labv1.FileRef
	for _, n := range spec.GetNodes() {
		for _, a := range n.GetApps() {
			files = append(files, a.GetHttp().GetFiles()...)
		}
	}
	return files
}
