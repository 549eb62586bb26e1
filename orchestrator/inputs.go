package orchestrator

import labv1 "labd.dev/proto/lab/v1"

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
	case *labv1.Input_Send:
		return k.Send.GetId()
	case *labv1.Input_Fault:
		return k.Fault.GetId()
	}
	return ""
}

// inputFiles lists the content that an input names.
func inputFiles(in *labv1.Input) []*labv1.FileRef {
	if f := in.GetTransfer().GetFile(); f != nil {
		return []*labv1.FileRef{f}
	}
	return specFiles(in.GetApply().GetSpec())
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
