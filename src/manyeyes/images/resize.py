"""Make a photo smaller or larger, every pixel of it counting."""

from typing import Literal

import numpy as np
import torch
from torch.nn.functional import interpolate

from manyeyes.images.colour import Pixels


def resize(photo: Pixels, width: int, height: int, interpolation: Literal["bilinear", "bicubic"]) -> Pixels:
    """A photo of (H, W, 3) with other sides: (height, width, 3), as Pillow would make it, in a fifth of the time.

    The two round differently now and then: by one level, seldom by two. Which threads torch may use changes nothing.
    """
    # torch wants memory in one piece that could be written to, and gives the channels last if it gets them last.
    pixels = torch.from_numpy(np.require(photo, np.uint8, ["C", "W"]))[None].permute(0, 3, 1, 2)
    resized = interpolate(pixels, size=(height, width), mode=interpolation, antialias=True, align_corners=False)
    return resized.permute(0, 2, 3, 1)[0].contiguous().numpy()
