package metering

import (
	"fmt"
	"io"
	"time"
)

// The attributes of the events of exports. Types are never renamed: what the data means is part of their names.
const (
	eventSource     = "urn:headgate:usage"
	eventHour       = "io.headgate.usage.hour.v1"
	eventCorrection = "io.headgate.usage.correction.v1"
)

// usageEvent is a CloudEvent in the JSON format of version 1.0 (github.com/cloudevents/spec, cloudevents/formats/json-format.md).
// Whoever counts usage by events takes each id of a source once; the subject is the tenant.
type usageEvent struct {
	SpecVersion     string    `json:"specversion"`
	ID              string    `json:"id"`
	Source          string    `json:"source"`
	Type            string    `json:"type"`
	Subject         string    `json:"subject"`
	Time            time.Time `json:"time"` // of the hour that the entry is dated in
	DataContentType string    `json:"datacontenttype"`
	Data            Entry     `json:"data"`
}

// cloudEvents writes a batch (JSON Batch Format): a list of events.
type cloudEvents struct {
	w    io.Writer
	rows int
}

func (c *cloudEvents) begin() error {
	_, err := io.WriteString(c.w, "[")
	return err
}

func (c *cloudEvents) entry(e Entry) error {
	v := usageEvent{SpecVersion: "1.0", ID: e.ID, Source: eventSource, Type: eventHour, Subject: e.TenantID, Time: e.Start,
		DataContentType: "application/json", Data: e}
	if e.isCorrection() {
		v.Type = eventCorrection
	}
	if e.State != Sealed { // it may come again with other amounts, and is another event then
		v.ID = fmt.Sprintf("%s@%d", e.ID, e.rev)
	}
	return writeElement(c.w, v, &c.rows)
}

func (c *cloudEvents) end() error {
	_, err := io.WriteString(c.w, "\n]\n")
	return err
}
