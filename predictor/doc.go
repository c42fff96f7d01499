// Package predictor fits, judges and runs the saliency predictor: a network that
// maps an image to where a person would look to decide.
//
// [Fit] trains it on a few images with human maps, [FitFolds] gives each of those
// images a map by a model that never saw it, [Model.Score] compares its maps with
// held-out human ones beside cheap baselines, and [Model.Annotate] draws maps for
// a stream of any length. A [Model] is one safetensors file: of a network, of an
// ensemble of them, or of a baseline that learns in no time ([Config.Method]). A
// [Judge] compares the maps of other annotators with human ones in the same way.
//
// # Maps
//
// A human map may have any size and covers the whole displayed image. It is
// scaled to [0, 1] by its own minimum and maximum and reduced by area mean. A
// blank map (one value everywhere) says nothing about where to look: such
// examples are neither trained on nor scored, under any loss, and are counted.
//
// The network sees the image in a square of Config.Size pixels: squashed, or in
// its own shape between black bars, as Config.Resize says. Its map is brought back
// to the image's aspect ratio, the longer side Config.Size pixels long, and written
// as a 16-bit grey PNG of probabilities in [0, 1]. Maps are judged there, over the
// image alone.
//
// # Determinism
//
// What is computed depends on the configuration, the examples and their order,
// never on the number of workers nor on interruptions.
//
// The recipe follows MENTOR (arXiv 2310.19545), by default on a small U-Net from
// scratch.
package predictor
