package orchestrator

import (
	"slices"

	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// addFile makes content known, or that further servers hold it.
func (a *applier) addFile(c *controlv1.AddFile) (*controlv1.RequestOutcome, *Refusal) {
	file := a.view.file(c.GetSha256())
	if file == nil {
		if !a.count(counterFiles, +1, maxFiles) {
			return nil, overQuota("files", maxFiles)
		}
		if c.GetSizeBytes() > maxFilesBytes || !a.count(counterFileBytes, int64(c.GetSizeBytes()), maxFilesBytes) {
			return nil, overQuota("bytes of files", maxFilesBytes)
		}
		file = &controlv1.FileState{Sha256: c.GetSha256(), SizeBytes: c.GetSizeBytes()}
	}
	a.insert(tableFiles, with(file, func(f *controlv1.FileState) {
		holders := append(slices.Clone(file.GetServers()), c.GetServers()...)
		slices.Sort(holders)
		f.Servers = slices.Compact(holders)
	}))
	return &controlv1.RequestOutcome{}, nil
}

// dropFiles lets go of content that nothing names. Whatever came to name it since the command was proposed keeps it.
func (a *applier) dropFiles(c *controlv1.DropFiles) (*controlv1.RequestOutcome, *Refusal) {
	named := a.view.namedFiles()
	for _, sum := range c.GetSha256() {
		file := a.view.file(sum)
		if file == nil || named[sum] {
			continue
		}
		a.remove(tableFiles, file)
		a.count(counterFiles, -1, maxFiles)
		a.count(counterFileBytes, -int64(file.GetSizeBytes()), maxFilesBytes)
	}
	return &controlv1.RequestOutcome{}, nil
}

// lacks refuses what names content that is not held: it may have been let go since the proposer looked.
func (a *applier) lacks(files []*labv1.FileRef) *Refusal {
	for _, f := range files {
		if a.view.file(f.GetSha256()) == nil {
			return fileMissing(f)
		}
	}
	return nil
}

func fileMissing(f *labv1.FileRef) *Refusal {
	return refuse(labv1.ErrorReason_ERROR_REASON_FILE_MISSING,
		"the content of %q (SHA-256 %s) has not been uploaded", f.GetPath(), f.GetSha256())
}

// namedFiles are the contents that labs, runs and their inputs name.
func (v view) namedFiles() map[string]bool {
	named := make(map[string]bool)
	note := func(files []*labv1.FileRef) {
		for _, f := range files {
			named[f.GetSha256()] = true
		}
	}
	for _, lab := range v.labs() {
		note(specFiles(lab.GetSpec()))
		note(specFiles(lab.GetChangedSpec()))
	}
	for _, run := range v.runs() {
		note(specFiles(run.GetSpec()))
	}
	for _, in := range all[controlv1.InputState](v, tableInputs, "id") {
		note(inputFiles(in.GetEntry().GetInput()))
	}
	return named
}
