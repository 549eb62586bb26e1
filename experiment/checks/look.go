package checks

import (
	"fmt"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/trace"
)

// maxPlaces bounds the places that a failed check names.
const maxPlaces = 3

// look names the places where to see why a check failed: in the ladder where a connection is known, else among the events.
func look(c *labv1.Check, events []trace.Event) []string {
	var places []string
	seen := map[string]bool{}
	for i := range events {
		e := &events[i]
		place := fmt.Sprintf("labctl events --name %s, at %s", e.Name, seconds(e.TNs))
		key := e.Name
		if e.Conn != "" {
			place = fmt.Sprintf("labctl ladder %s, at %s", e.Conn, seconds(e.TNs))
			key = e.Conn
		}
		if !seen[key] && len(places) < maxPlaces {
			seen[key] = true
			places = append(places, place)
		}
	}
	if len(places) > 0 {
		return places
	}
	if conn := c.GetStatePath().GetConn(); conn != "" {
		return []string{"labctl ladder " + conn}
	}
	for _, s := range selectorsOf(c) {
		if s.spec.GetEvent() != "" {
			return []string{"labctl events --name " + s.spec.GetEvent()}
		}
	}
	return []string{"labctl events"}
}

// seconds writes a lab time as the ladder does.
func seconds(ns int64) string { return fmt.Sprintf("%d.%09ds", ns/1e9, ns%1e9) }
