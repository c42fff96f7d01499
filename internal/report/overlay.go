package report

import (
	"fmt"

	"github.com/surrogaze/surrogaze/internal/raster"
)

// Pictures of examples: JPEG files whose longer side has at most pictureSide
// pixels.
const (
	pictureSide    = 320
	pictureQuality = 85
)

// Picture reduces an encoded image to the size of an example.
func Picture(image []byte) ([]byte, error) {
	m, err := decode(image)
	if err != nil {
		return nil, err
	}
	return raster.EncodeJPEG(m, pictureQuality)
}

// Overlay lays an encoded saliency map over an encoded image.
func Overlay(image, saliency []byte) ([]byte, error) {
	p, err := raster.DecodeMap(saliency)
	if err != nil {
		return nil, fmt.Errorf("map: %w", err)
	}
	return overlay(image, p)
}

// OverlayMap lays a map of w x h values in [0, 1] over an encoded image.
func OverlayMap(image []byte, w, h int, pix []float32) ([]byte, error) {
	return overlay(image, &raster.Plane{W: w, H: h, Pix: pix})
}

func overlay(image []byte, p *raster.Plane) ([]byte, error) {
	m, err := decode(image)
	if err != nil {
		return nil, err
	}
	return raster.EncodeJPEG(raster.Overlay(m, p), pictureQuality)
}

func decode(image []byte) (*raster.Image, error) {
	m, err := raster.Decode(image)
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	return raster.Thumbnail(m, pictureSide), nil
}
