package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/surrogaze/surrogaze/internal/weights"
	"github.com/surrogaze/surrogaze/pipeline"
	"github.com/surrogaze/surrogaze/storage"
)

func newModelCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "model",
		Short: "Look into files of weights, and write models for other programs",
		Args:  noCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },

		SuggestionsMinimumDistance: 2,
	}
	cmd.AddCommand(newInspectCommand(), newExportCommand())
	return cmd
}

func newInspectCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "inspect FILE",
		Short: "List the tensors of a safetensors or PyTorch file",
		Long: `Inspect lists the tensors of a file by name, with type and shape, and their sum: a
safetensors file, or what PyTorch's torch.save wrote of a state_dict (.pth, .pt).
Nothing that the file holds is run.`,
		Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := weights.Open(args[0])
			if err != nil {
				return storage.Unusable("inspect: %w", err)
			}
			defer f.Close()
			return printTensors(cmd.OutOrStdout(), f.Tensors())
		},
	}
}

func newExportCommand() *cobra.Command {
	var to, out string
	cmd := &cobra.Command{
		Use:   "export MODEL --to onnx|safetensors --out FILE",
		Short: "Write a trained model for other programs",
		Long: `Export writes a classifier or predictor, a file such as models/predictor.safetensors
or a folder that holds one, for other programs:

    onnx          for ONNX runtimes: image in, logits and cam or saliency out, for any
                  number of images
    safetensors   the parameters alone, as torchvision, timm or
                  segmentation_models_pytorch name them

What the image has to be and what the outputs mean stands in the file's metadata.`,
		Args: exactly("MODEL"),
		RunE: func(_ *cobra.Command, args []string) error {
			if to != "onnx" && to != "safetensors" {
				return misuse{fmt.Errorf("--to %q: want onnx or safetensors", to)}
			}
			if out == "" {
				return misuse{errors.New("want --out, the file to write")}
			}
			if err := pipeline.ExportModel(args[0], to, out); err != nil {
				return startAnewError{err}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "onnx or safetensors")
	cmd.Flags().StringVar(&out, "out", "", "file to write")
	return cmd
}

// printTensors prints tensors as a table. A scalar has the shape "scalar".
func printTensors(w io.Writer, tensors []weights.Info) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "tensor\ttype\tshape")
	elements, bytes := 0, int64(0)
	for _, t := range tensors {
		fmt.Fprintf(table, "%s\t%s\t%s\n", printable(t.Name), t.DType, shape(t.Shape))
		elements += t.Len()
		bytes += int64(t.Len()) * int64(t.DType.Size())
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%d tensors, %d parameters and buffers, %d bytes (%.1f MiB)\n",
		len(tensors), elements, bytes, float64(bytes)/(1<<20))
	return err
}

// printable quotes a name that a terminal or a table would not show as it is.
func printable(name string) string {
	if quoted := fmt.Sprintf("%q", name); len(quoted) > len(name)+2 {
		return quoted
	}
	return name
}

func shape(axes []int) string {
	if len(axes) == 0 {
		return "scalar"
	}
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(axes), " ", "x"), "[]")
}
