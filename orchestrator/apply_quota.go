package orchestrator

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// setQuota sets bounds; those that are as usual are not kept. Nothing is taken away from who has more.
func (a *applier) setQuota(c *controlv1.SetQuota) (*controlv1.RequestOutcome, *Refusal) {
	if p := a.view.person(c.GetUser()); c.GetUser() != "" && (p == nil || p.GetRemovedUnixNs() != 0) {
		return nil, noPerson(c.GetUser())
	}
	holder := holderOf(c.GetUser(), c.GetRole())
	was := a.view.quota(holder)
	limits := slices.DeleteFunc(slices.Clone(was.GetLimits()), func(old *labv1.QuotaLimit) bool {
		return slices.ContainsFunc(c.GetLimits(), func(l *labv1.QuotaLimit) bool { return l.GetSubject() == old.GetSubject() })
	})
	for _, l := range c.GetLimits() {
		if !l.GetUsual() {
			limits = append(limits, l)
		}
	}
	slices.SortFunc(limits, func(a, b *labv1.QuotaLimit) int { return cmp.Compare(a.GetSubject(), b.GetSubject()) })
	switch {
	case len(limits) > 0:
		a.insert(tableQuotas, &controlv1.QuotaState{Holder: holder, Limits: limits})
	case was != nil:
		a.remove(tableQuotas, was)
	}
	return &controlv1.RequestOutcome{ObjectId: holder}, nil
}

// quotaText is what was set, for the audit: "quota of bob: labs 3, files as usual".
func quotaText(c *controlv1.SetQuota) string {
	var list []string
	for _, l := range c.GetLimits() {
		text := fmt.Sprint(l.GetAtMost())
		switch {
		case l.GetUnlimited():
			text = "unlimited"
		case l.GetUsual():
			text = "as usual"
		}
		list = append(list, subjectName(l.GetSubject())+" "+text)
	}
	return "quota of " + holderOf(c.GetUser(), c.GetRole()) + ": " + strings.Join(list, ", ")
}
