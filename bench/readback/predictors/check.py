"""Loads the predictors that main.go wrote in segmentation_models_pytorch, and in
onnxruntime, and compares their maps with ours.

    python check.py FOLDER

Every safetensors file must be a state_dict that the network takes strictly. Ends with
1 if a value, which lies in [0, 1], differs by more than 1e-4.
"""

import json
import pathlib
import sys

import numpy as np
import onnxruntime
import segmentation_models_pytorch as smp
import torch
from PIL import Image
from safetensors.torch import load_file

NEAR = 1e-4
NETWORKS = {
    "unet-resnet18": (smp.Unet, "resnet18"),
    "unet-resnet50": (smp.Unet, "resnet50"),
    "unet-densenet121": (smp.Unet, "densenet121"),
    "unetplusplus-resnet50": (smp.UnetPlusPlus, "resnet50"),
}

folder = pathlib.Path(sys.argv[1])


def resized(image, side):
    """An image (height, width, 3) as (3, side, side)."""
    channels = [np.ascontiguousarray(np.float32(image)[:, :, c]) for c in range(3)]
    return np.stack([np.asarray(Image.fromarray(c).resize((side, side), Image.BILINEAR)) for c in channels])


def by_torch(name, images):
    """The mean of the maps of the images and of their mirror images."""
    build, encoder = NETWORKS[name]
    net = build(encoder, encoder_weights=None)
    net.load_state_dict(load_file(folder / f"{name}.safetensors"), strict=True)
    with torch.no_grad():
        straight, mirrored = (net.eval()(x).sigmoid() for x in (images, images.flip(3)))
    return (straight + mirrored.flip(3)).numpy()[:, 0] / 2


def by_onnx(session, images):
    """Image by image: the number of images is free."""
    return np.concatenate([session.run(["saliency"], {"image": image[None].numpy()})[0][:, 0] for image in images])


close = True
for name in NETWORKS:
    session = onnxruntime.InferenceSession(folder / f"{name}.onnx")
    about = json.loads(session.get_modelmeta().custom_metadata_map["preprocessing"])
    files = sorted((folder / name).glob("*.png"))
    images = np.stack([resized(Image.open(folder / f.name).convert("RGB"), about["size"]) for f in files]) / 255
    mean, std = (np.float32(about[key]).reshape(3, 1, 1) for key in ("mean", "std"))
    images = torch.from_numpy(np.float32((images - mean) / std))
    ours = np.stack([np.asarray(Image.open(f), np.float64) / 65535 for f in files])
    for where, found in (("PyTorch", by_torch(name, images)), ("ONNX", by_onnx(session, images))):
        off = np.abs(found - ours).max()
        print(f"{name} in {where}: maps differ by {off:.1e}")
        close = close and off <= NEAR
sys.exit(0 if close else 1)
