// Package testdata holds small data that the program and its tests share.
package testdata

import "embed"

// Quickstart is the data set of the quickstart: drawn by internal/synthetic,
// whose test writes it anew with -update.
//
//go:embed all:quickstart
var Quickstart embed.FS
