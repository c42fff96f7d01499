package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/surrogaze/surrogaze/internal/doctor"
)

func newDoctorCommand() *cobra.Command {
	var bench bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine offers",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			w := cmd.OutOrStdout()
			machine := doctor.Inspect()
			machine.GPUs = doctor.InspectGPUs()
			if err := machine.Write(w); err != nil || !bench {
				return err
			}
			if _, err := fmt.Fprint(w, doctor.Bench(cmd.Context())); err != nil {
				return err
			}
			return doctor.WriteGPUs(cmd.Context(), w)
		},
	}
	cmd.Flags().BoolVar(&bench, "bench", false, "measure the peaks of arithmetic and memory (some seconds)")
	return cmd
}
