"""Open one photo: the same function for training, prediction and serving.

A file that is no good photo is an answer (`Rejected`), not an exception: one bad file never ends a run, and never
becomes another photo's pixels. What the bytes are is decided by their content, never by the file's name.
"""

import hashlib
import os
import stat
import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from manyeyes.errors import ManyEyesError
from manyeyes.images.colour import Pixels, UnsupportedPixels, rgb, upright
from manyeyes.images.formats import FORMAT_NAMES, gif_canvas, reader_of
from manyeyes.images.jpeg import pixels_of_plain, shrink
from manyeyes.places import is_url

MAX_PIXELS = 100_000_000
MAX_BYTES = 2**30  # 100 megapixels of 16-bit RGBA, uncompressed, are 0.8 GB
# Photos of more pixels take up to twelve bytes for each while they are decoded: so many at a time, whatever the cores.
LARGE_PIXELS = 16_000_000
_large = threading.BoundedSemaphore(2)


class Reason(StrEnum):
    """Why a file is no photo."""

    MISSING = "missing"
    NO_PERMISSION = "no permission"
    NOT_A_FILE = "not a file"
    UNREADABLE = "unreadable"
    EMPTY = "empty"
    NOT_AN_IMAGE = "not an image"
    DAMAGED = "damaged"
    TOO_LARGE = "too large"
    UNSUPPORTED_PIXELS = "unsupported pixels"


def readable(text: str) -> str:
    """The text on one line, fit for any terminal: control characters and bytes that are not UTF-8 as escapes."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


@dataclass(frozen=True)
class Rejected:
    """A file that is no good photo; ``detail`` says on one line what was found."""

    path: str
    reason: Reason
    detail: str

    def __str__(self) -> str:
        return f"{readable(self.path)}: {self.reason} ({self.detail})"


@dataclass(frozen=True)
class Photo:
    """A decoded photo: ``image`` as of ``decode``; ``sha256`` is the hex digest of the file's bytes."""

    path: str
    sha256: str
    image: Pixels


def open_photo(path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS) -> Photo | Rejected:
    """Read and decode one file. Never raises for a bad file; otherwise as ``read_bytes`` and ``decode``."""
    data = read_bytes(path)
    if isinstance(data, Rejected):
        return data
    image = decode(data, os.fspath(path), max_pixels)
    if isinstance(image, Rejected):
        return image
    return Photo(os.fspath(path), hashlib.sha256(data).hexdigest(), image)


def read_bytes(path: str | os.PathLike[str]) -> bytes | Rejected:
    """The bytes of a regular file, not yet decoded, or of what a URL names.

    Never raises for a bad file. MemoryError is not the file's, nor is PlaceError: where the URL lies cannot be reached.
    """
    path, file = os.fspath(path), Path(path)
    if is_url(path):
        from manyeyes.images.remote import read_url

        return read_url(path)
    try:
        # Asked before opening: opening a pipe would wait for a writer that may never come.
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            return Rejected(path, Reason.NOT_A_FILE, "a folder, pipe, socket or device")
        if status.st_size > MAX_BYTES:
            return Rejected(path, Reason.TOO_LARGE, f"{status.st_size:,} bytes; at most {MAX_BYTES:,} are read")
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return Rejected(path, Reason.MISSING, "a link to nothing" if file.is_symlink() else "no such file")
    except PermissionError:
        return Rejected(path, Reason.NO_PERMISSION, "this user may not read it")
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        return Rejected(path, Reason.UNREADABLE, _words(error))


def decode(data: bytes, path: str, max_pixels: int = MAX_PIXELS) -> Pixels | Rejected:
    """Decode the first frame to upright RGB: (H, W, 3), uint8.

    Greyscale of 16 bits is scaled to 8, transparency lies on white. A large JPEG may come at a half, a quarter or an
    eighth of its size, with 1,368 pixels or more left in its shorter side: what a backbone of up to 518 pixels sees of
    it stays the same within a grey level on average, for less time and memory. ``path`` only names the photo in a
    rejection.

    Files that declare more than ``max_pixels`` are rejected before any pixel is decoded; TIFF and GIF files also when
    they exceed ``PIL.Image.MAX_IMAGE_PIXELS``, because Pillow's readers of these two check that themselves.

    Bytes that the decoder gives up on are rejected. What it puts up with is not noticed, because Pillow keeps libjpeg's
    warnings to itself: a JPEG that was cut and closed with an end marker, or overwritten in the middle, comes back with
    its loss filled in, usually grey; and bytes changed in a format without checksums are just other pixels.

    Never raises for bad bytes. Raises MemoryError when there is too little memory, which says nothing of the photo, and
    ManyEyesError while ``PIL.ImageFile.LOAD_TRUNCATED_IMAGES`` is set, which lets missing pixels pass for grey ones.
    """
    if not data:
        return Rejected(path, Reason.EMPTY, "the file has no bytes")
    reader = reader_of(data)
    if reader is None:
        return Rejected(path, Reason.NOT_AN_IMAGE, _what_it_is_instead(data))
    limit = max_pixels
    if issubclass(reader, TiffImageFile | GifImageFile) and Image.MAX_IMAGE_PIXELS is not None:
        limit = min(max_pixels, Image.MAX_IMAGE_PIXELS)
    try:
        if issubclass(reader, GifImageFile) and (refused := _too_large(path, gif_canvas(data), limit)):
            return refused
        # The reader itself, not Image.open: that one warns of large images, and warnings are muted per process only.
        file = reader(BytesIO(data))
        if refused := _too_large(path, file.size, limit):
            return refused
        if isinstance(file, JpegImageFile):
            shrink(file)
        with _room_for(file.size):
            image = upright(_pixels(data, file), file)
    except MemoryError:  # were it an answer, the load of the machine would decide which photos there are
        raise
    except UnsupportedPixels as error:
        return Rejected(path, Reason.UNSUPPORTED_PIXELS, str(error))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        return Rejected(path, Reason.TOO_LARGE, _words(error))
    except Exception as error:  # a decoder may throw anything at bytes made to break it
        return Rejected(path, Reason.DAMAGED, _words(error))
    # Asked last, because another thread may have set it meanwhile. Pillow has no strictness per image.
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise ManyEyesError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set, so that a damaged photo looks like a good one: "
            "set it to False, or find the package that sets it"
        )
    return image


def _pixels(data: bytes, file: ImageFile.ImageFile) -> Pixels:
    if isinstance(file, JpegImageFile) and (plain := pixels_of_plain(data, file)) is not None:
        return plain
    file.load()
    return rgb(file)


def _room_for(size: tuple[int, int]) -> AbstractContextManager[object]:
    width, height = size
    return _large if width * height > LARGE_PIXELS else nullcontext()


def _too_large(path: str, size: tuple[int, int], limit: int) -> Rejected | None:
    width, height = size
    if width * height <= limit:
        return None
    return Rejected(path, Reason.TOO_LARGE, f"{width} x {height} pixels; at most {limit:,} are decoded")


def _what_it_is_instead(data: bytes) -> str:
    if data[4:8] == b"ftyp":
        return "a video or a HEIC photo; convert it to JPEG"
    return f"begins with {data[:16]!r}; what is read is {FORMAT_NAMES}"


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror  # without the path, which is told beside it
    return readable(str(error)) or type(error).__name__
