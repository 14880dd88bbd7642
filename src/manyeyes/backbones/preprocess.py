"""From an upright RGB photo to the numbers that a backbone was trained to see."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from manyeyes.backbones.card import Interpolation, Preprocessing
from manyeyes.images.colour import Pixels
from manyeyes.images.resize import resize

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
# How many times as many pixels as are wanted may be made and thrown away: of a panorama, the whole would take much
# memory, and more time than the slower resize that makes only those that are wanted.
_WASTE = 12


def frame(photo: Pixels, size: int, crop: float, interpolation: Interpolation) -> Pixels:
    """Resize the shorter side to ``size / crop`` and cut out the centre: (H, W, 3) → (size, size, 3).

    Rounded as torchvision and timm round, because the weights were trained and published with that.
    """
    height, width = photo.shape[:2]
    shorter, short = int(size / crop), min(height, width)
    # Sides of the whole resized photo; the cut's corner lies on a whole pixel of it.
    rows, columns = (shorter if side == short else int(shorter * side / short) for side in (height, width))
    top, left = round((rows - size) / 2), round((columns - size) / 2)
    if interpolation in ("bilinear", "bicubic") and rows * columns <= _WASTE * size**2:
        whole = resize(photo, columns, rows, interpolation)
        return np.ascontiguousarray(whole[top : top + size, left : left + size])
    box = (left * width / columns, top * height / rows, (left + size) * width / columns, (top + size) * height / rows)
    return np.array(Image.fromarray(photo).resize((size, size), _RESAMPLING[interpolation], box=box))


def normalise(batch: npt.NDArray[np.uint8], preprocessing: Preprocessing) -> npt.NDArray[np.float32]:
    """(B, S, S, 3) pixels of 0..255 in RGB → (B, 3, S, S) normalised float32 in the card's channel order."""
    pixels = batch[..., ::-1] if preprocessing.channels == "bgr" else batch
    mean = np.asarray(preprocessing.mean, dtype=np.float32)
    scale = np.float32(1) / np.asarray(preprocessing.std, dtype=np.float32)
    normalised = (pixels.astype(np.float32) * np.float32(1 / 255) - mean) * scale
    return np.ascontiguousarray(normalised.transpose(0, 3, 1, 2))
