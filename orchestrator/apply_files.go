package orchestrator

import (
	"slices"

	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// addFile makes content known, or that further servers hold it, or that a person has brought it.
func (a *applier) addFile(c *controlv1.AddFile) (*controlv1.RequestOutcome, *Refusal) {
	if refused := a.bring(c.GetOwner(), c.GetSha256(), c.GetSizeBytes()); refused != nil {
		return nil, refused
	}
	file := a.view.file(c.GetSha256())
	if file == nil {
		if refused := a.countFile("", +1, c.GetSizeBytes()); refused != nil {
			return nil, refused
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

// bring notes that a person has content, which counts for each who has it: who has what is nobody else's business, so that
// nobody may find content to be there already.
func (a *applier) bring(person, sum string, size uint64) *Refusal {
	if person == "" || a.view.holds(person, sum) {
		return nil
	}
	if refused := a.view.within(person, moreForFile(size)); refused != nil {
		return refused
	}
	if refused := a.countFile(person, +1, size); refused != nil {
		return refused
	}
	a.insert(tableHoldings, &controlv1.FileHolding{Owner: person, Sha256: sum, SizeBytes: size})
	return nil
}

// countFile counts a file of a person, or of all, in or out.
func (a *applier) countFile(person string, sign int64, size uint64) *Refusal {
	if !a.count(ofOwner(counterFiles, person), sign, maxFiles) {
		return overQuota("files", maxFiles)
	}
	if size > maxFilesBytes || !a.count(ofOwner(counterFileBytes, person), sign*int64(size), maxFilesBytes) {
		return overQuota("bytes of files", maxFilesBytes)
	}
	return nil
}

// dropFiles lets go of content that nothing names. Whatever came to name it since the command was proposed keeps it.
func (a *applier) dropFiles(c *controlv1.DropFiles) (*controlv1.RequestOutcome, *Refusal) {
	named := a.view.namedFiles()
	for _, h := range c.GetHoldings() {
		held := get[controlv1.FileHolding](a.view, tableHoldings, "id", h.GetOwner(), h.GetSha256())
		if held == nil || named.by(h.GetOwner(), h.GetSha256()) {
			continue
		}
		a.remove(tableHoldings, held)
		a.countFile(held.GetOwner(), -1, held.GetSizeBytes())
	}
	for _, sum := range c.GetSha256() {
		file := a.view.file(sum)
		if file == nil || named.any(sum) || a.view.held(sum) {
			continue
		}
		a.remove(tableFiles, file)
		a.countFile("", -1, file.GetSizeBytes())
	}
	return &controlv1.RequestOutcome{}, nil
}

// lacks refuses what names content that its giver has not brought; what a lab has named before, whoever brought it, it may
// go on to name. It is asked again when a command is applied: content may have been let go since the proposer looked.
func (v view) lacks(giver string, lab *controlv1.LabState, files []*labv1.FileRef) *Refusal {
	var named map[string]bool
	for _, f := range files {
		if v.holds(giver, f.GetSha256()) {
			continue
		}
		if named == nil {
			named = make(map[string]bool)
			for _, had := range specFiles(presentSpec(lab)) {
				named[had.GetSha256()] = true
			}
		}
		if !named[f.GetSha256()] || v.file(f.GetSha256()) == nil {
			return fileMissing(f)
		}
	}
	return nil
}

func fileMissing(f *labv1.FileRef) *Refusal {
	return refuse(labv1.ErrorReason_ERROR_REASON_FILE_MISSING,
		"the content of %q (SHA-256 %s) has not been uploaded", f.GetPath(), f.GetSha256())
}

// namings tells which content labs, runs and their inputs name, and whose they are.
type namings map[[2]string]bool

// any tells whether anything names content.
func (n namings) any(sum string) bool { return n[[2]string{"", sum}] }

// by tells whether something of a person's names content.
func (n namings) by(person, sum string) bool { return n[[2]string{person, sum}] }

// namedFiles are the contents that labs, runs and their inputs name, and what is published and submitted.
func (v view) namedFiles() namings {
	named := make(namings)
	note := func(person string, files []*labv1.FileRef) {
		for _, f := range files {
			named[[2]string{"", f.GetSha256()}] = true
			named[[2]string{person, f.GetSha256()}] = true
		}
	}
	for _, lab := range v.labs() {
		note(lab.GetOwner(), specFiles(lab.GetSpec()))
		note(lab.GetOwner(), specFiles(lab.GetChangedSpec()))
	}
	for _, run := range v.runs() {
		note(run.GetOwner(), specFiles(run.GetSpec()))
	}
	for _, t := range v.templates() {
		note(t.GetPublisher(), specFiles(t.GetSpec()))
	}
	for _, s := range all[controlv1.SubmissionState](v, tableSubmissions, "id") {
		note(s.GetPerson(), specFiles(s.GetSpec()))
		for _, e := range s.GetJournal() {
			note(s.GetPerson(), inputFiles(e.GetInput()))
		}
	}
	for _, row := range v.journals() {
		for _, in := range row.inputs {
			note(in.GetBy(), inputFiles(in.GetEntry().GetInput()))
		}
	}
	return named
}
