"""From the many ways to store pixels to one: upright, 8 bits, RGB."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageChops
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile

# (H, W, 3), uint8, RGB.
Pixels = npt.NDArray[np.uint8]

# What brings a photo upright, by its EXIF orientation.
_TURNS: dict[int, Callable[[Pixels], Pixels]] = {
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: stored[::-1].swapaxes(0, 1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: stored[:, ::-1].swapaxes(0, 1),
}
# Rows that are copied at a time.
_STRIP = 128


class UnsupportedPixels(ValueError):  # noqa: N818 -- no error of the package: it becomes a Rejected
    """Pixel values for which nothing says what is black and what is white."""


def upright(pixels: Pixels, file: Image.Image) -> Pixels:
    """The pixels of a file, turned as its EXIF orientation asks; in one piece of memory."""
    turn = _TURNS.get(_orientation(file))
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))


def rgb(file: Image.Image) -> Pixels:
    """The pixels of a loaded image, as they lie in it.

    Raises UnsupportedPixels for floating-point, signed and 32-bit values.
    """
    to_rgb = _conversion(file)
    pixels = np.empty((file.height, file.width, 3), np.uint8)
    # All at once would go through several more copies of the whole, in several times the time.
    for top in range(0, file.height, _STRIP):
        bottom = min(top + _STRIP, file.height)
        pixels[top:bottom] = np.asarray(to_rgb(file.crop((0, top, file.width, bottom))))
    return pixels


def _orientation(file: Image.Image) -> int:
    try:
        orientation = file.getexif().get(ExifTags.Base.Orientation, 1)
    except MemoryError:
        raise
    except Exception:  # corrupt EXIF makes Pillow throw many things, and the pixels are still good
        return 1
    return orientation if isinstance(orientation, int) else 1


def _conversion(file: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """What makes RGB of each strip of an image."""
    mode = file.mode
    if mode.startswith("I;16") or (mode == "I" and isinstance(file, PngImageFile | PpmImageFile)):
        return _grey_from_16_bits(file)
    if mode in ("I", "F"):
        kind = "floating-point" if mode == "F" else "signed or 32-bit"
        raise UnsupportedPixels(f"{kind} values have no agreed white; save it with 8 or 16 unsigned bits")
    if file.has_transparency_data:
        return _on_white
    if mode == "CMYK" and isinstance(file, JpegImageFile) and "adobe" not in file.info:
        # Pillow takes every CMYK JPEG for one of Adobe's, which are stored inverted.
        return lambda strip: ImageChops.invert(strip).convert("RGB")
    return lambda strip: strip if mode == "RGB" else strip.convert("RGB")


def _grey_from_16_bits(file: Image.Image) -> Callable[[Image.Image], Image.Image]:
    white, least_is_white = 65535, False
    if isinstance(file, TiffImageFile):
        white = 2 ** file.tag_v2.get(ExifTags.Base.BitsPerSample, (16,))[0] - 1
        least_is_white = file.tag_v2.get(ExifTags.Base.PhotometricInterpretation) == 0
    transparent = file.info.get("transparency")

    def to_rgb(strip: Image.Image) -> Image.Image:
        values = np.asarray(strip).astype(np.uint32)
        if least_is_white:
            values = white - values
        if isinstance(transparent, int):
            values[values == transparent] = white
        return Image.fromarray(((values * 255 + white // 2) // white).astype(np.uint8)).convert("RGB")

    return to_rgb


def _on_white(strip: Image.Image) -> Image.Image:
    # Pillow has no direct way from premultiplied grey to RGBA.
    image = strip.convert("LA") if strip.mode == "La" else strip
    image = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return white
