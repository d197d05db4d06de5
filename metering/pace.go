package metering

import "time"

// pace measures how fast an account is used: over the five minutes before, of which the older part is weighed by how much of
// it lies within them. What was received in the slot before, and settles only now, counts there.
type pace struct{ slot, now, before int64 }

const paceSeconds = 300

func (p *pace) add(at time.Time, n int64) {
	if p.turn(at); floorDiv(at.Unix(), paceSeconds) < p.slot {
		p.before += n
		return
	}
	p.now += n
}

// turn moves to the slot of a moment, and stays where that is just over.
func (p *pace) turn(at time.Time) {
	switch slot := floorDiv(at.Unix(), paceSeconds); {
	case slot == p.slot || slot == p.slot-1:
	case slot == p.slot+1:
		p.slot, p.now, p.before = slot, 0, p.now
	default:
		p.slot, p.now, p.before = slot, 0, 0
	}
}

// perSecond returns the bytes per second at a moment.
func (p *pace) perSecond(at time.Time) float64 {
	p.turn(at)
	into := max(0, float64(at.Unix()-p.slot*paceSeconds)/paceSeconds)
	return (float64(p.before)*(1-into) + float64(p.now)) / paceSeconds
}

// merge adds what another pace has measured of the same account: slots are the same for everybody. What lies more than a slot before the
// newest counts for nothing any more.
func (p *pace) merge(o pace) {
	if o.slot > p.slot {
		*p, o = o, *p
	}
	switch p.slot - o.slot {
	case 0:
		p.now, p.before = p.now+o.now, p.before+o.before
	case 1:
		p.before += o.now
	}
}

// paceOf is the pace of n bytes at a moment.
func paceOf(at time.Time, n int64) pace { return pace{slot: floorDiv(at.Unix(), paceSeconds), now: n} }

// mergePace is merge as the ON CONFLICT of day_use, whose rows are paces too.
const mergePace = `pace_slot = CASE WHEN excluded.pace_slot > day_use.pace_slot THEN excluded.pace_slot ELSE day_use.pace_slot END,
	pace_now = CASE WHEN excluded.pace_slot > day_use.pace_slot THEN excluded.pace_now
		WHEN excluded.pace_slot = day_use.pace_slot THEN day_use.pace_now + excluded.pace_now ELSE day_use.pace_now END,
	pace_before = CASE excluded.pace_slot - day_use.pace_slot WHEN 0 THEN day_use.pace_before + excluded.pace_before
		WHEN 1 THEN day_use.pace_now + excluded.pace_before WHEN -1 THEN day_use.pace_before + excluded.pace_now
		ELSE CASE WHEN excluded.pace_slot > day_use.pace_slot THEN excluded.pace_before ELSE day_use.pace_before END END`
