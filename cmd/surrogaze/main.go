// Command surrogaze replaces most of the annotators of saliency maps: from a few
// annotated images it learns to draw the maps, draws them for large data sets, and
// trains classifiers to look where they say (CYBORG, arXiv 2410.16190).
//
// Results go to standard output, progress and messages to standard error. Exit
// codes: 0 done, 1 failure or a training that diverged, 2 misuse or bad
// configuration, 3 unusable data, 130 interrupted with progress kept.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/surrogaze/surrogaze/pipeline"
	"github.com/surrogaze/surrogaze/storage"
)

// Exit codes.
const (
	exitDone        = 0
	exitFailure     = 1
	exitMisuse      = 2
	exitData        = 3
	exitInterrupted = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second interrupt ends the process at once
	os.Exit(execute(ctx, os.Args[1:]))
}

// execute runs one command line and reports its error.
func execute(ctx context.Context, args []string) int {
	root := newRootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	code := exitCode(ctx, err)
	switch code {
	case exitDone:
	case exitInterrupted:
		if errors.As(err, &startAnewError{}) {
			fmt.Fprintln(os.Stderr, "\ninterrupted; nothing was written")
			break
		}
		fmt.Fprintf(os.Stderr, "\ninterrupted; what was done is kept. Continue with\n\n    surrogaze %s\n", commandLine(args))
	default:
		fmt.Fprintf(os.Stderr, "surrogaze: %v\n", err)
		if hint := hintFor(err); hint != "" {
			fmt.Fprintf(os.Stderr, "hint: %s\n", hint)
		}
	}
	return code
}

// misuse is an error of the command line.
type misuse struct{ error }

// exitCode classifies an error.
func exitCode(ctx context.Context, err error) int {
	var (
		usage  misuse
		config *pipeline.ConfigError
		data   *pipeline.DataError
	)
	switch {
	case err == nil:
		return exitDone
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &usage), errors.As(err, &config):
		return exitMisuse
	case errors.As(err, &data):
		return exitData
	}
	return exitFailure
}

// hintFor says what may help against an error.
func hintFor(err error) string {
	var (
		usage    misuse
		mismatch *pipeline.MismatchError
		locked   *storage.FolderLockedError
	)
	switch {
	case errors.As(err, &usage):
		return "surrogaze --help lists the commands and their flags"
	case errors.As(err, &mismatch):
		return "surrogaze model inspect FILE lists a file's tensors; --allow-missing PATTERN accepts names that differ"
	case errors.As(err, &locked):
		return "choose another folder with --out, or run the same command again when that is done"
	case errors.Is(err, pipeline.ErrDeviceMemory):
		return "a smaller batch takes less of the device's memory, and so does precision bf16 than f32"
	case errors.Is(err, syscall.ENOMEM):
		return "a smaller batch takes less memory"
	case errors.Is(err, pipeline.ErrDeviceLost) && errors.As(err, &startAnewError{}):
		return "nothing was written: run the same command again"
	case errors.Is(err, pipeline.ErrDeviceLost):
		return "what was saved is kept: run the same command again to go on from there, --set device=cpu if the device stays away"
	case errors.Is(err, syscall.ENOSPC) && errors.As(err, &startAnewError{}):
		return "nothing was written: free some room and run the same command again"
	case errors.Is(err, syscall.ENOSPC):
		return "what was done is kept: free some room and run the same command again"
	}
	return ""
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "surrogaze",
		Short: "Saliency maps without the annotators, and classifiers that look where people look",
		Long: `Surrogaze learns from a few images on which people marked where they look, draws
such maps for all other images, and trains classifiers to look there (CYBORG).

    surrogaze run quickstart                     a whole run on built-in images
    surrogaze run my.yaml --set data.root=DIR    a run on your own

A run continues where it was interrupted, and skips what is done.`,
		Args:          noCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,

		SuggestionsMinimumDistance: 2,
		SilenceUsage:               true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return misuse{err} })
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newRunCommand())
	for _, stage := range pipeline.Stages() {
		if stage == pipeline.StageAnnotate {
			root.AddCommand(newAnnotateCommand())
			continue
		}
		root.AddCommand(newStageCommand(stage))
	}
	root.AddCommand(newCurveCommand(), newPlanCommand(), newStatusCommand(), newPredictCommand(), newModelCommand(), newDoctorCommand(), newVersionCommand())
	return root
}

// noCommand refuses an argument that is no command, and names those like it.
func noCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("unknown command %q", args[0])
	if like := root.SuggestionsFor(args[0]); len(like) > 0 {
		text += fmt.Sprintf("; did you mean %q?", like[0])
	}
	return misuse{errors.New(text)}
}

// exactly wants n arguments, named in the message where they are missing.
func exactly(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return misuse{fmt.Errorf("found %d arguments, want %d: %s", len(args), len(names), strings.Join(names, " "))}
		}
		return nil
	}
}

// commandLine is args as a shell would take them.
func commandLine(args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		if strings.ContainsFunc(a, func(r rune) bool { return !strings.ContainsRune(plainRunes, r) }) || a == "" {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		quoted[i] = a
	}
	return strings.Join(quoted, " ")
}

const plainRunes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=./,:+@%"
