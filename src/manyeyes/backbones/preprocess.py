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

    Rounded as torchvision and timm round, because the weights were trained and published with that. Resizing only the
    region that the cut keeps gives the same pixels for a third of the work.
    """
    shorter, short = int(size / crop), min(image.size)
    # Sides of the whole resized photo; the cut's corner lies on a whole pixel of it.
    resized = [shorter if side == short else int(shorter * side / short) for side in image.size]
    corner = [round((side - size) / 2) for side in resized]
    box = [
        edge * side / whole
        for edges in (corner, [start + size for start in corner])
        for edge, side, whole in zip(edges, image.size, resized, strict=True)
    ]
    return np.asarray(image.resize((size, size), _RESAMPLING[interpolation], box=(box[0], box[1], box[2], box[3])))


def normalise(batch: npt.NDArray[np.uint8], preprocessing: Preprocessing) -> npt.NDArray[np.float32]:
    """(B, S, S, 3) pixels of 0..255 in RGB → (B, 3, S, S) normalised float32 in the card's channel order."""
    pixels = batch[..., ::-1] if preprocessing.channels == "bgr" else batch
    mean = np.asarray(preprocessing.mean, dtype=np.float32)
    scale = np.float32(1) / np.asarray(preprocessing.std, dtype=np.float32)
    normalised = (pixels.astype(np.float32) * np.float32(1 / 255) - mean) * scale
    return np.ascontiguousarray(normalised.transpose(0, 3, 1, 2))
