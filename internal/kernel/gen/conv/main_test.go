package main

import (
	"os"
	"testing"
)

func TestTheCommittedAssemblyIsWhatTheGeneratorWrites(t *testing.T) {
	committed, err := os.ReadFile("../../conv_amd64.s")
	if err != nil {
		t.Fatal(err)
	}
	if string(committed) != generate() {
		t.Error("conv_amd64.s is not up to date: run go generate in internal/kernel")
	}
}
