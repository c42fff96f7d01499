package streams

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestEveryNumberIsDealtWithOnce(t *testing.T) {
	for _, cores := range []int{0, 1, 3, 20} {
		done := make([]atomic.Int64, 10)
		err := NewCores(cores).Each(len(done), func(i int) error {
			done[i].Add(1)
			return nil
		})
		for i := range done {
			if n := done[i].Load(); n != 1 || err != nil {
				t.Errorf("%d cores: number %d was dealt with %d times, %v, want once", cores, i, n, err)
			}
		}
	}
	if err := NewCores(2).Each(0, func(int) error { return errors.New("called") }); err != nil {
		t.Errorf("of no numbers: %v", err)
	}
}

func TestGoroutinesShareCoresInCommon(t *testing.T) {
	for _, c := range []struct {
		common bool
		most   int64
	}{{true, 2}, {false, 3}} {
		synctest.Test(t, func(t *testing.T) {
			var busy, most atomic.Int64
			for _, cores := range Deal(3, 2, c.common) {
				go cores.Each(6, func(int) error {
					if n := busy.Add(1); n > most.Load() {
						most.Store(n)
					}
					time.Sleep(time.Second)
					busy.Add(-1)
					return nil
				})
			}
			begin := time.Now()
			synctest.Wait()
			time.Sleep(time.Minute)
			synctest.Wait()
			if n := most.Load(); n != c.most {
				t.Errorf("in common %v: found %d at work at once after %v, want %d", c.common, n, time.Since(begin), c.most)
			}
		})
	}
}

func TestNoMoreIsBegunBehindAnError(t *testing.T) {
	broken := errors.New("broken")
	for _, cores := range []int{1, 4} {
		var begun atomic.Int64
		err := NewCores(cores).Each(1000, func(i int) error {
			begun.Add(1)
			if i == 5 {
				return broken
			}
			time.Sleep(time.Millisecond)
			return nil
		})
		if !errors.Is(err, broken) || begun.Load() > 100 {
			t.Errorf("%d cores: found %v behind %d calls, want %v soon", cores, err, begun.Load(), broken)
		}
	}
}
