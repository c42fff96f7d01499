package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/surrogaze/surrogaze/internal/metric"
)

const (
	dash  = "–" // shown for what is unknown
	minus = "−"
)

// finite reports whether v is a number that can be shown.
func finite(v float64) bool { return math.Abs(v) < 1e30 }

// number is v with that many decimals.
func number(v float64, decimals int) string {
	if !finite(v) {
		return dash
	}
	s := strconv.FormatFloat(v, 'f', decimals, 64)
	digits, negative := strings.CutPrefix(s, "-")
	if negative && strings.Trim(digits, "0.") != "" {
		return minus + digits
	}
	return digits
}

// three is v as most measures are shown.
func three(v float64) string { return number(v, 3) }

func signed(v float64) string {
	s := three(v)
	if s == dash || strings.HasPrefix(s, minus) {
		return s
	}
	return "+" + s
}

// count is n with thin spaces between thousands.
func count(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

// counted is a number of things in words: 1 row, 2 rows.
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return count(n) + " " + thing + "s"
}

func meanSD(s stat) string {
	if s.n < 2 {
		return three(s.mean)
	}
	return three(s.mean) + " ± " + three(s.sd)
}

// probability is the P of a test.
func probability(p float64) string {
	if p < 0.001 {
		return "< 0.001"
	}
	return three(p)
}

// interval is bounds where they are known, else nothing.
func interval(i metric.Interval) string {
	if !finite(i.Low) || !finite(i.High) {
		return ""
	}
	return bounds(i)
}

func bounds(i metric.Interval) string {
	return fmt.Sprintf("[%s, %s]", three(i.Low), three(i.High))
}

func took(d time.Duration) string {
	switch {
	case d <= 0:
		return dash
	case d < time.Minute:
		return number(d.Seconds(), 1) + " s"
	case d < time.Hour:
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	default:
		return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
	}
}

// sentence is text with a capital letter and a full stop.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}
