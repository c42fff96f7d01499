// Package cyborg trains image classifiers that look where people look, and judges
// them.
//
// A classifier's class activation map (CAM) is its last feature maps weighted by
// one class's row of the final linear layer, scaled to [0, 1]. Training minimises
// the mean over a batch of
//
//	alpha*CE + (1-alpha)*g*distance(CAM, map)
//
// where CE is the cross-entropy of an image and the distance is the mean square
// unless the configuration says otherwise, as it may of the class, the features and
// the entropy of the CAM, and of images blurred where their map is low. The map is
// seen through the same augmentation as the image, reduced to the CAM's grid by area
// mean and scaled to [0, 1] by its own minimum and maximum. g is 0 where the map is
// constant in a view, or where there is none: such a view teaches the class alone. Of
// the others it is 1 if every training image has a map, and the larger the fewer have.
//
// An [Arm] says which maps a training uses. Run i of every arm begins with the
// same weights, and shows the same images in the same order and with the same
// augmentation: arms can be compared in pairs. Arms on fewer samples
// (human_small, none_small) take the same number of epochs, and so fewer steps.
//
// A [Teacher] draws maps for other images with trained classifiers, by their class
// activation or by [RISE].
//
// # Determinism
//
// What is computed depends on the configuration, the data set, the arm and the
// run, never on the number of workers, the memory budget or interruptions.
//
// # Sources
//
// The loss is CYBORG's (arXiv 2112.00686), extended to sets in which maps are
// missing: where every image has a map, the two are equal. The published CAM is
// of the predicted class, later work of the same group takes the true one; so
// does [DefaultConfig], because the project's study of small image sets did.
package cyborg
