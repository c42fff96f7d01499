package pipeline

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAFingerprintIsTakenOnceUnlessThatFailed(t *testing.T) {
	var f fingerprints
	taken := 0
	take := func() (string, error) {
		if taken++; taken == 1 {
			return "", errors.New("gone")
		}
		return "sum", nil
	}
	_, err := f.of(context.Background(), "data.annotated", take)
	if data := (*DataError)(nil); !errors.As(err, &data) || err.Error() != "data.annotated: gone" {
		t.Errorf("found %v, want an error of the data with the key", err)
	}
	for range 2 {
		if sum, err := f.of(context.Background(), "data.annotated", take); sum != "sum" || err != nil {
			t.Errorf("found %q (%v), want the fingerprint", sum, err)
		}
	}
	if taken != 2 {
		t.Errorf("the fingerprint was taken %d times, want once after the failure", taken)
	}
}

func TestWhatTakesLongIsSaid(t *testing.T) {
	for _, x := range []struct {
		takes time.Duration
		want  []EventKind
	}{{time.Second, nil}, {3 * time.Second, []EventKind{Started, Finished}}} {
		synctest.Test(t, func(t *testing.T) {
			var found []EventKind
			ended := newEvents(func(e Event) { found = append(found, e.Kind) }).of(taskRead).sayAfter(2*time.Second, "reading")
			time.Sleep(x.takes)
			ended()
			if d := cmp.Diff(x.want, found); d != "" {
				t.Errorf("%v: events (-want +got):\n%s", x.takes, d)
			}
		})
	}
}
