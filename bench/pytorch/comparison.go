// Package pytorch is what the comparisons of networks with PyTorch's have in common:
// the networks of both sides, the work that is measured, and processes that take
// turns at it. PyTorch's networks are in networks.py.
package pytorch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Comparison lets our side and PyTorch's modes take turns.
type Comparison struct {
	Job    Job // without case and task
	Modes  []string
	Rounds int
	// Start starts a side with the function of the same name.
	Start func(ctx context.Context, name string, j Job) (*Side, error)
	// Done is called after each task of a case.
	Done func(ctx context.Context, f Finding) error
	// Found is what was found so far.
	Found []Finding
}

// Finding is a case's task with all sides, ours first.
type Finding struct {
	Job
	Sides []*Side
}

// All compares every wanted task of every case; one that fails leaves the others.
func (c *Comparison) All(ctx context.Context, cases, wanted []string) error {
	var failed []error
	for _, name := range cases {
		for _, task := range wanted {
			if ctx.Err() != nil || inferredAnyway(name, task, cases) {
				continue
			}
			j := c.Job
			j.Case, j.Task = name, task
			if err := c.one(ctx, j); err != nil {
				failed = append(failed, fmt.Errorf("%s of %s: %w", task, name, err))
			}
		}
	}
	return errors.Join(append(failed, ctx.Err())...)
}

// inferredAnyway reports that a task is the inference of a guided network, which is
// that of the same network without maps, and that this is among the cases.
func inferredAnyway(name, task string, cases []string) bool {
	base, guided := strings.CutSuffix(name, guidedSuffix)
	return task == InferenceTask && guided && slices.Contains(cases, base)
}

// one compares one task of one case.
func (c *Comparison) one(ctx context.Context, j Job) error {
	found := Finding{Job: j}
	err := errors.Join(c.measure(ctx, &found), found.end())
	if err != nil {
		return err
	}
	c.Found = append(c.Found, found)
	return c.Done(ctx, found)
}

// measure starts all sides and lets them take turns.
func (c *Comparison) measure(ctx context.Context, found *Finding) error {
	if err := c.startAll(ctx, found); err != nil {
		return err
	}
	n := len(found.Sides)
	for round := range c.Rounds {
		for i := range n {
			if err := found.Sides[(i+round)%n].measure(); err != nil {
				return err
			}
		}
	}
	for _, s := range found.Sides {
		if err := s.finish(); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%s of %s, %s: %.1f ms\n", found.Task, found.Case, s.Name, s.Median())
	}
	return nil
}

// startAll starts all sides. A mode of PyTorch that does not start is left out.
func (c *Comparison) startAll(ctx context.Context, found *Finding) error {
	s, err := c.Start(ctx, Ours, found.Job)
	if err != nil {
		return err
	}
	found.Sides = append(found.Sides, s)
	for _, mode := range c.Modes {
		s, err := c.Start(ctx, mode, found.Job)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s of %s: %v\n", found.Task, found.Case, err)
			continue
		}
		found.Sides = append(found.Sides, s)
		if a, b := found.Sides[0].Parameters, s.Parameters; a != b {
			return fmt.Errorf("not the same network: %d parameters, of PyTorch's %d", a, b)
		}
	}
	return nil
}

// end ends all sides.
func (f *Finding) end() error {
	var failed []error
	for _, s := range f.Sides {
		failed = append(failed, s.end())
	}
	return errors.Join(failed...)
}

// best is PyTorch's fastest mode, nil if none started.
func (f *Finding) best() *Side {
	if len(f.Sides) == 1 {
		return nil
	}
	return slices.MinFunc(f.Sides[1:], func(a, b *Side) int { return cmp.Compare(a.Median(), b.Median()) })
}
