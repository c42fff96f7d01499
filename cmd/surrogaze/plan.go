package main

import (
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/surrogaze/surrogaze/pipeline"
)

func newPlanCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "plan CONFIG",
		Short: "Say what run would do, and why",
		Args:  exactly("CONFIG"),
		RunE: func(cmd *cobra.Command, args []string) error {
			steps, err := planSteps(cmd, o, args[0])
			if err != nil {
				return err
			}
			return printPlan(os.Stdout, steps)
		},
	}
	o.register(cmd)
	return cmd
}

func newStatusCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "status CONFIG",
		Short: "Say what is done",
		Args:  exactly("CONFIG"),
		RunE: func(cmd *cobra.Command, args []string) error {
			steps, err := planSteps(cmd, o, args[0])
			if err != nil {
				return err
			}
			return printStatus(os.Stdout, steps)
		},
	}
	o.register(cmd)
	return cmd
}

func planSteps(cmd *cobra.Command, o runOptions, path string) ([]pipeline.Step, error) {
	cfg, err := o.load(path)
	if err != nil {
		return nil, err
	}
	seen := &lines{w: os.Stderr, every: time.Minute, now: time.Now}
	p, err := pipeline.New(cfg, pipeline.Options{Version: version(), Observe: seen.observe})
	if err != nil {
		return nil, err
	}
	return p.Plan(cmd.Context())
}

// shortKey is as much of a key as people need.
func shortKey(key string) string { return key[:min(len(key), 12)] }

func printPlan(w io.Writer, steps []pipeline.Step) error {
	verb := map[pipeline.State]string{pipeline.Done: "skip", pipeline.Running: "wait for", pipeline.Partial: "continue", pipeline.Failed: "retry", pipeline.Missing: "make"}
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	left := 0
	for _, s := range steps {
		why := s.Why
		if s.State == pipeline.Done {
			why = "done " + s.Made.Local().Format(time.DateTime)
		} else {
			left++
		}
		fmt.Fprintf(tab, "%s\t%s\t%s\t%s\t%s\n", verb[s.State], s.Stage, s.Name, shortKey(s.Key), why)
	}
	if err := tab.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d of %d to do\n", left, len(steps))
	return err
}

func printStatus(w io.Writer, steps []pipeline.Step) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	done, failures := 0, ""
	for _, s := range steps {
		made, took := "", ""
		switch s.State {
		case pipeline.Done:
			done++
			made, took = s.Made.Local().Format(time.DateTime), round(s.Took).String()
		case pipeline.Failed:
			failures += fmt.Sprintf("%s failed: %s\n", s.Stage, s.Why)
		}
		fmt.Fprintf(tab, "%s\t%s\t%s\t%s\t%s\t%s\n", s.State, s.Stage, s.Name, shortKey(s.Key), made, took)
	}
	if err := tab.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d of %d done\n%s", done, len(steps), failures)
	return err
}

// round makes a duration readable.
func round(d time.Duration) time.Duration {
	if d >= time.Minute {
		return d.Round(time.Second)
	}
	return d.Round(100 * time.Millisecond)
}
