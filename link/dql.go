package link

import (
	"math"

	"labd.dev/sim"
)

// dynamicQueueLimits bounds how many bytes a device holds at a time to what keeps its wire busy: Linux's
// lib/dynamic_queue_limits.c (Tom Herbert, 2011), the algorithm of byte queue limits. The limit grows when the device ran dry
// although the queue had more for it, and shrinks by what was never needed during a hold time. Counts are bytes.
type dynamicQueueLimits struct {
	limit int64
	// Ever growing: what the device was given, and what of that has gone on the wire.
	queued, completed int64
	adjusted          int64 // limit + completed, at the last completion: more than this is not to be queued
	lastObject        int64 // the last that was queued

	// As they were at the completion before the last.
	prevQueued, prevLastObject, prevOverLimit int64

	lowestSlack int64 // since slackStart
	slackStart  sim.Time

	minLimit, maxLimit int64
	holdTime           sim.Time
}

func newDynamicQueueLimits(b *ByteQueueLimits, now sim.Time) dynamicQueueLimits {
	return dynamicQueueLimits{lowestSlack: math.MaxInt64, slackStart: now, minLimit: int64(b.LimitMin), maxLimit: int64(b.LimitMax),
		holdTime: b.HoldTime}
}

// available tells how much more may be queued; below zero the queue is stopped. One frame may go past the limit: Linux's
// netdev_tx_sent_queue stops the queue after the frame that does.
func (q *dynamicQueueLimits) available() int64 { return q.adjusted - q.queued }

// inFlight is what the device holds.
func (q *dynamicQueueLimits) inFlight() int64 { return q.queued - q.completed }

// enqueue counts what the device is given (dql_queued).
func (q *dynamicQueueLimits) enqueue(bytes int64) {
	q.lastObject = bytes
	q.queued += bytes
}

// complete counts what the device is done with, and finds the limit anew (dql_completed).
func (q *dynamicQueueLimits) complete(bytes int64, now sim.Time) {
	completed := q.completed + bytes
	limit := q.limit
	overLimit := max(q.inFlight()-limit, 0)
	inProgress := q.queued - completed
	prevInProgress := q.prevQueued - q.completed
	allPrevCompleted := completed >= q.prevQueued

	switch {
	case overLimit > 0 && inProgress == 0 || q.prevOverLimit > 0 && allPrevCompleted:
		// Starved: the queue was stopped and all that it had handed over is gone. The limit grows by what was both queued and
		// completed since the last completion, and by what had gone past it.
		limit += max(completed-q.prevQueued, 0) + q.prevOverLimit
		q.slackStart, q.lowestSlack = now, math.MaxInt64
	case inProgress > 0 && prevInProgress > 0 && !allPrevCompleted:
		// Busy all the time. Slack is what the limit is above twice what was completed at a time, or the part of the last
		// frame that was within the limit, where that frame went past it.
		slack := max(limit+q.prevOverLimit-2*bytes, 0)
		if q.prevOverLimit > 0 {
			slack = max(slack, q.prevLastObject-q.prevOverLimit)
		}
		q.lowestSlack = min(q.lowestSlack, slack)
		if now > q.slackStart+q.holdTime {
			limit = max(limit-q.lowestSlack, 0)
			q.slackStart, q.lowestSlack = now, math.MaxInt64
		}
	}
	limit = min(max(limit, q.minLimit), q.maxLimit)
	if limit != q.limit {
		q.limit = limit
		overLimit = 0
	}
	q.adjusted = limit + completed
	q.prevOverLimit, q.prevLastObject, q.prevQueued = overLimit, q.lastObject, q.queued
	q.completed = completed
}
