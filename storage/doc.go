// Package storage keeps what the program reads and makes.
//
// A [Dataset] is a folder of Parquet files that other programs read as they stand;
// a [Writer] writes one. A [Source] reads the sets of others as a stream: an
// annotated folder ([OpenFolder]) or public set ([OpenCYBORG], [OpenEGDCXR],
// [OpenNIHChestXray]), or Parquet and Arrow files by any writer ([OpenFiles]). Rows
// that cannot be used are a [*RowError] each, for which there is a [Quarantine]. An
// [Exporter] writes a data set in the format of other programs.
//
// A [Store] keeps artefacts: folders named by the hash of all that they depend on,
// which appear whole or not at all and never change.
package storage
