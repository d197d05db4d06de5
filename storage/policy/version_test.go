package policy

import "testing"

func TestOpenBypassesFollowTheBranches(t *testing.T) {
	for version, want := range map[string]int{
		"26.7.2.1": 2, "26.7.6.4": 2, "26.7.6.5": 1, "26.7.6.48": 1, "26.7.6.49": 0, "26.7.7.1": 0,
		"26.3.27.3": 2, "26.3.27.4": 1, "26.6.4.51": 1, "26.6.4.50": 2,
		"26.8.2.1": 1, "26.8.2.2": 0, "26.9.1.1": 0, "27.1.1.1": 0,
		"26.5.9.9": 2, "25.8.1.1": 2, "18.16.1.0": 2,
		"26.7.6.49.altinitystable": 0, "26.7.6.49-lts": 0,
		"": 2, "latest": 2, "26.7": 2, "x.7.6.49": 2,
	} {
		if got := OpenBypasses(version); len(got) != want {
			t.Errorf("OpenBypasses(%q) = %q, want %d", version, got, want)
		}
	}
}
