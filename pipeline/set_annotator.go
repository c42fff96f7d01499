package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/surrogaze/surrogaze/cyborg"
	"github.com/surrogaze/surrogaze/predictor"
	"github.com/surrogaze/surrogaze/storage"
)

// setAnnotator draws maps with models from files.
type setAnnotator struct {
	annotator
	source  string          // of the maps
	key     string          // hash of the files
	classes []string        // of classifiers
	teacher *TeacherOptions // of classifiers
}

// openAnnotator reads a predictor, or classifiers that draw together.
func openAnnotator(paths []string, o *TeacherOptions) (*setAnnotator, error) {
	var (
		predictors  []*predictor.Model
		classifiers []*cyborg.Model
	)
	h := sha256.New()
	for _, path := range paths {
		m, err := openModel(path)
		if err == nil {
			err = hashFile(h, m.path)
		}
		if err != nil {
			return nil, err
		}
		if m.classifier != nil {
			classifiers = append(classifiers, m.classifier)
		} else {
			predictors = append(predictors, m.predictor)
		}
	}
	key := hex.EncodeToString(h.Sum(nil))
	switch {
	case len(paths) == 0:
		return nil, configError(errors.New("found no model, want a predictor or classifiers"))
	case len(predictors) == 0:
		return newSetTeacher(classifiers, key, o)
	case len(paths) > 1:
		return nil, configError(fmt.Errorf("models %q: found a predictor among them, want it alone", paths))
	case o != nil:
		return nil, configError(fmt.Errorf("model %q: found a predictor, which draws as it was fitted, want classifiers for an annotator, mirror images or masks of RISE", paths[0]))
	}
	return &setAnnotator{annotator: predictors[0], source: sourceOf(predictors[0]), key: key}, nil
}

// newSetTeacher draws with classifiers. Of the quality of their maps their files say
// nothing.
func newSetTeacher(classifiers []*cyborg.Model, key string, o *TeacherOptions) (*setAnnotator, error) {
	if o == nil {
		byCAM := DefaultTeacherOptions()
		o = &byCAM
	}
	t, err := o.newTeacher(classifiers)
	if err != nil {
		return nil, configError(err)
	}
	return &setAnnotator{teacher{Teacher: t}, o.Annotator, key, classifiers[0].Classes(), o}, nil
}

// sourceOf is the source of a predictor's maps.
func sourceOf(m *predictor.Model) string {
	if method := m.Config().Method; method != "" {
		return method
	}
	return storage.SourcePredictor
}

// hashFile hashes what a file holds.
func hashFile(h hash.Hash, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(h, f)
	return err
}
