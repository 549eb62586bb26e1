package main

import (
	"fmt"
	"strconv"
	"strings"

	"labd.dev/labfile/schema"
	labv1 "labd.dev/proto/lab/v1"
)

// parseSend reads what send takes: KEY=VALUE words, of the packet's fields and of when it is sent.
func parseSend(node string, words []string) (*labv1.RawSend, error) {
	p := &labv1.RawPacket{}
	s := &labv1.RawSend{From: node, Packets: []*labv1.RawPacket{p}}
	for _, w := range words {
		key, value, ok := strings.Cut(w, "=")
		if !ok {
			return nil, &usageError{fmt.Sprintf("send: %q is not KEY=VALUE, like tcp.flags=S", w)}
		}
		var err error
		switch key {
		case "id":
			s.Id = value
		case "on":
			s.On = value
		case "skip":
			s.Skip, err = count(value)
		case "times":
			s.Times, err = count(value)
		case "wait":
			s.WaitNs, err = schema.ParseDuration(value)
		case "after":
			p.AfterNs, err = schema.ParseDuration(value)
		case "interval":
			p.IntervalNs, err = schema.ParseDuration(value)
		case "count":
			p.Count, err = count(value)
		default:
			p.Fields = append(p.Fields, &labv1.RawField{Name: key, Value: value})
		}
		if err != nil {
			return nil, &usageError{fmt.Sprintf("send: %s: %v", key, err)}
		}
	}
	return s, nil
}

func count(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number", s)
	}
	return uint32(n), nil
}
