"""From an upright RGB photo to the numbers that a backbone was trained to see."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from manyeyes.backbones.card import Interpolation, Preprocessing

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def frame(image: Image.Image, size: int, crop: float, interpolation: Interpolation) -> npt.NDArray[np.uint8]:
    """Resize the shorter side to ``size / crop`` and cut out the centre: (size, size, 3), uint8.

    Resizing only the region that the crop keeps gives the same pixels for a third of the work; the cut is centred to a
    fraction of a pixel.
    """
    side = min(image.size) * min(1.0, size / round(size / crop))
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    return np.asarray(image.resize((size, size), _RESAMPLING[interpolation], box=box))


def normalise(batch: npt.NDArray[np.uint8], preprocessing: Preprocessing) -> npt.NDArray[np.float32]:
    """(B, S, S, 3) pixels of 0..255 in RGB → (B, 3, S, S) normalised float32 in the card's channel order."""
    pixels = batch[..., ::-1] if preprocessing.channels == "bgr" else batch
    mean = np.asarray(preprocessing.mean, dtype=np.float32)
    scale = np.float32(1) / np.asarray(preprocessing.std, dtype=np.float32)
    normalised = (pixels.astype(np.float32) * np.float32(1 / 255) - mean) * scale
    return np.ascontiguousarray(normalised.transpose(0, 3, 1, 2))
