"""JPEG, as nearly all photos are stored: large ones are decoded smaller, and by simplejpeg where it is installed.

simplejpeg and Pillow are two ways to the same decoder, libjpeg-turbo, and ask the same of it: their pixels are equal
where both bring the same version, and within rounding where not. So features do not tell, and need not tell, which of
them decoded. simplejpeg writes into an array at once and holds no lock that other threads wait for.
"""

from PIL.JpegImagePlugin import JpegImageFile

from manyeyes.images.colour import Pixels

try:
    from simplejpeg import decode_jpeg
except ImportError:
    decode_jpeg = None

# Pixels of the shorter side that are left at least: four times as many as are wanted for an input of 299. Photos that
# were decoded to this size and to their full size are, framed for 299, the same within half a grey level on average;
# for 518 within one, and for 600 within two where all is the finest texture.
ENOUGH = 1368


def shrink(file: JpegImageFile) -> None:
    """Have the not yet loaded photo decoded at a half, a quarter or an eighth, where ``ENOUGH`` pixels are left.

    Only where that divides both sides, as it does in what cameras make: from other proportions, however little they
    differ, a backbone's input may be cut half a pixel further on.
    """
    width, height = file.size
    for scale in (8, 4, 2):
        if min(width, height) >= ENOUGH * scale and width % scale == height % scale == 0:
            file.draft(None, (width // scale, height // scale))
            return


def pixels_of_plain(data: bytes, file: JpegImageFile) -> Pixels | None:
    """What simplejpeg makes of the bytes that ``file`` has read the header of: (H, W, 3), RGB, as they lie.

    None where simplejpeg is not installed, where the photo is neither grey nor of three colours, and at whatever else
    it objects to, be it a mere warning: then Pillow decides whether this is a photo.
    """
    if decode_jpeg is None or file.mode not in ("L", "RGB"):
        return None
    width, height = file.size
    # Asked for the least size, it scales as little as need be. A small photo of full size may not be asked for: 7 of 7
    # pixels are also what it makes of them when it scales by 7/8.
    least = {"min_height": height, "min_width": width} if min(width, height) >= ENOUGH else {}
    try:
        pixels: Pixels = decode_jpeg(data, "RGB", fastdct=False, fastupsample=False, **least)
    except MemoryError:
        raise
    except Exception:
        return None
    return pixels if pixels.shape == (height, width, 3) else None
