"""Photos in figures."""

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from PIL import Image, ImageOps

from manyeyes.images import Photo, open_photo
from manyeyes.study.figures.style import GREY

SIDE = 160  # pixels


def show_photo(axes: Axes, path: str) -> None:
    """The photo's middle square; grey where its file has gone since the backbones saw it."""
    photo = open_photo(path)
    image = Image.fromarray(photo.image) if isinstance(photo, Photo) else Image.new("RGB", (SIDE, SIDE), GREY)
    square: npt.NDArray[np.uint8] = np.asarray(ImageOps.fit(image, (SIDE, SIDE), Image.Resampling.LANCZOS))
    axes.imshow(square)
