package main

import (
	"context"
	"time"

	"labd.dev/client"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/trace"
)

// authors tells of a standing lab's inputs what they were, who gave them and when. A trace holds their places in the journal
// only: the journal is asked, from the first place on that it was not asked for yet.
type authors struct {
	client *client.Client
	lab    string
	known  map[uint64]given
	asked  uint64 // up to which place
}

type given struct {
	entry  *labv1.JournalEntry
	author *labv1.InputAuthor
}

func newAuthors(c *client.Client, lab string) *authors {
	return &authors{client: c, lab: lab, known: make(map[uint64]given)}
}

// tell puts into events of inputs what is known of those.
func (a *authors) tell(ctx context.Context, events []trace.Event) error {
	for i := range events {
		e := &events[i]
		if e.Name != "lab:input" {
			continue
		}
		index, err := a.find(ctx, e)
		if err != nil {
			return err
		}
		if g, ok := a.known[index]; ok {
			e.Data = g.data()
		}
	}
	return nil
}

// find asks for the journal if an event's input is not known yet.
func (a *authors) find(ctx context.Context, e *trace.Event) (uint64, error) {
	value, _ := e.Get("index")
	index, _ := value.(uint64)
	for more := index > a.asked; more; {
		r, err := a.client.Labs.ListInputs(ctx, &labv1.ListInputsRequest{Lab: a.lab, AfterIndex: a.asked})
		if err != nil {
			return 0, err
		}
		for i, entry := range r.GetEntries() {
			a.known[entry.GetIndex()] = given{entry: entry, author: r.GetAuthors()[i]}
			a.asked = max(a.asked, entry.GetIndex())
		}
		more = r.GetMore() && a.asked < index
	}
	a.asked = max(a.asked, index)
	return index, nil
}

// data is what an input's event tells: its place in the journal, what it was, who gave it and when, all of it.
func (g given) data() []trace.Field {
	var who []trace.Field
	if by := g.author.GetBy(); by != "" {
		who = append(who, trace.Field{Name: "by", Value: by})
	}
	if at := g.author.GetAt(); at != nil {
		who = append(who, trace.Field{Name: "at", Value: at.AsTime().UTC().Format(time.RFC3339Nano)})
	}
	return trace.InputData(g.entry.GetIndex(), g.entry.GetInput(), who...)
}
