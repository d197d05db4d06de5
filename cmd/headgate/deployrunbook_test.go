package main

import (
	"regexp"
	"strings"
	"testing"
)

// TestAlertsHaveRunbooks: every alert has its section in the runbook and the other way round, a severity that somebody acts on,
// and a link to the section.
func TestAlertsHaveRunbooks(t *testing.T) {
	sections := map[string]string{} // text by name
	for _, s := range strings.Split(mustRead(t, "../../docs/runbook.md"), "\n### ")[1:] {
		name, text, _ := strings.Cut(s, "\n")
		sections[name] = text
	}
	page := regexp.MustCompile(`^https://github\.com/headgate-io/headgate/blob/main/docs/runbook\.md#([a-z]+)$`)
	for _, r := range alertRules(t) {
		text, ok := sections[r.Alert]
		if !ok {
			t.Errorf("%s has no section in the runbook", r.Alert)
		}
		for _, part := range []string{"**Means**", "**Lost**", "**Look**", "**Do**"} {
			if ok && !strings.Contains(text, part) {
				t.Errorf("the section of %s does not say %s", r.Alert, part)
			}
		}
		delete(sections, r.Alert)
		if s := r.Labels["severity"]; s != "page" && s != "ticket" {
			t.Errorf("%s has severity %q", r.Alert, s)
		}
		if !strings.Contains(text, "("+r.Labels["severity"]+")") {
			t.Errorf("the section of %s does not say (%s)", r.Alert, r.Labels["severity"])
		}
		if m := page.FindStringSubmatch(r.Annotations["runbook_url"]); m == nil || m[1] != strings.ToLower(r.Alert) {
			t.Errorf("%s points to %s", r.Alert, r.Annotations["runbook_url"])
		}
		for _, name := range []string{"summary", "description"} {
			if r.Annotations[name] == "" {
				t.Errorf("%s has no %s", r.Alert, name)
			}
		}
	}
	for name := range sections {
		t.Errorf("the runbook has a section %q of no alert", name)
	}
}
