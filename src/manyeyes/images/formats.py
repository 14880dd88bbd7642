"""Which Pillow reader takes which bytes.

Only formats in which photos come: some of Pillow's other readers start programs (EPS runs Ghostscript), have no
signature (TGA takes any bytes), or hold files within files (ICO).
"""

import re
import struct

from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

# JpegImageFile also reads the first photo of a multi-picture JPEG (MPO), whatever its index of pictures says.
_READERS: dict[str, tuple[bytes, type[ImageFile]]] = {
    "JPEG": (rb"\xff\xd8\xff", JpegImageFile),
    "PNG": (rb"\x89PNG\r\n\x1a\n", PngImageFile),
    "WebP": (rb"RIFF....WEBP", WebPImageFile),
    "GIF": (rb"GIF8[79]a", GifImageFile),
    "TIFF": (rb"II[*+]\0|MM\0[*+]", TiffImageFile),
    "BMP": (rb"BM", BmpImageFile),
    "JPEG 2000": (rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n", Jpeg2KImageFile),
    "PPM": (rb"P[1-6f]\s", PpmImageFile),
}
try:
    from PIL.AvifImagePlugin import AvifImageFile
except ImportError:  # Pillow before 11.3
    pass
else:
    _READERS["AVIF"] = rb"....ftyp(avif|avis|mif1....(....)*?avif)", AvifImageFile

FORMAT_NAMES = ", ".join(_READERS)
_SIGNATURES = tuple((re.compile(signature, re.DOTALL), reader) for signature, reader in _READERS.values())
_SIGNATURE_BYTES = 64

# Files with these names are taken for photos when a folder is searched; HEIC too, so that its rejection is reported.
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".webp", ".avif", ".avifs", ".heic", ".heif"}
    | {".tif", ".tiff", ".bmp", ".dib", ".jp2", ".j2k", ".jpx", ".pnm", ".ppm", ".pgm", ".pbm", ".pfm"}
)


def reader_of(data: bytes) -> type[ImageFile] | None:
    """The reader for these bytes, judged by their first few; None when they are no known image."""
    head = data[:_SIGNATURE_BYTES]
    return next((reader for signature, reader in _SIGNATURES if signature.match(head)), None)


def gif_canvas(data: bytes) -> tuple[int, int]:
    """Width and height that a GIF's first frame needs, in pixels: it may reach beyond the screen the header declares.

    Raises IndexError or struct.error when the bytes end before the frame.
    """
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + (6 << (flags & 7) if flags & 0x80 else 0)
    while data[at] != ord(","):
        if data[at] == ord("!"):
            at += 2
            while data[at]:
                at += data[at] + 1
        at += 1
    left, top, frame_width, frame_height = struct.unpack_from("<4H", data, at + 1)
    return max(width, left + frame_width), max(height, top + frame_height)
