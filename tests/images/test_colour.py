"""Whatever way pixels are stored, they come out upright, in 8 bits, and with the right colours."""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageChops

from manyeyes.images import Reason, Rejected, colour, decode
from manyeyes.images.colour import rgb


@pytest.fixture(autouse=True, params=[5, 128], ids=["strips", "whole"])
def strips(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(colour, "_STRIP", request.param)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(data: bytes) -> NDArray[np.uint8]:
    image = decode(data, "a")
    assert isinstance(image, np.ndarray), str(image)
    assert image.dtype == np.uint8 and image.flags.c_contiguous
    return image


def corners() -> NDArray[np.uint8]:
    """A picture in which no turn or mirroring looks like another: 16 x 24, three corners of different colours."""
    picture = np.full((16, 24, 3), 128, np.uint8)
    picture[:8, :8] = 255, 0, 0
    picture[:8, -8:] = 0, 255, 0
    picture[-8:, :8] = 0, 0, 255
    return picture


# What a camera stores so that the orientation brings it upright: the inverse of each turn, in numpy's words.
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright),
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}


def exif_with(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("TIFF", {}), ("JPEG", {"quality": 100, "subsampling": 0}), ("WEBP", {"lossless": True})],
)
def test_every_orientation_comes_out_upright(orientation: int, kind: str, options: dict[str, object]) -> None:
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](corners())))
    data = encoded(stored, kind, exif=exif_with(orientation), **options)
    np.testing.assert_allclose(pixels(data), corners().astype(int), atol=4)


@pytest.mark.parametrize("mode", ["L", "I;16", "P", "LA", "1"])
def test_other_pixels_are_turned_too(mode: str) -> None:
    image = Image.new(mode, (24, 16))
    assert pixels(encoded(image, "PNG", exif=exif_with(6))).shape == (24, 16, 3)


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0garbage that is no TIFF header",
        b"Exif\0\0II*\0\xff\xff\xff\x7f",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01\x03\0\x01",
        exif_with(99).tobytes(),
        exif_with(0).tobytes(),
    ],
    ids=["none", "text", "far away", "cut off", "ninety-nine", "zero"],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_photo_with_corrupt_exif_is_kept_as_it_lies(exif: bytes) -> None:
    data = encoded(Image.fromarray(corners()), "JPEG", quality=100, subsampling=0, exif=exif)
    np.testing.assert_allclose(pixels(data), corners().astype(int), atol=4)


def test_exif_that_makes_pillow_raise_is_no_reason_to_reject() -> None:
    # Not hex: Pillow's getexif raises ValueError.
    data = bytearray(encoded(Image.fromarray(corners()), "PNG"))
    text = b"Raw profile type exif\0\nexif\n      4\nnot hex!"
    chunk = struct.pack(">I", len(text)) + b"tEXt" + text + struct.pack(">I", zlib.crc32(b"tEXt" + text))
    data[33:33] = chunk
    with Image.open(BytesIO(bytes(data))) as file, pytest.raises(ValueError, match="hex"):
        file.getexif()
    assert np.array_equal(pixels(bytes(data)), corners())


# --- colours --------------------------------------------------------------------------------------------------------

COLOURS = ["red", "lime", "blue", "cyan", "magenta", "yellow", "white", "black"]


def without_adobe_marker(jpeg: bytes) -> bytes:
    start = jpeg.index(b"\xff\xee")
    length = int.from_bytes(jpeg[start + 2 : start + 4], "big")
    assert jpeg[start + 4 :].startswith(b"Adobe")
    return jpeg[:start] + jpeg[start + 2 + length :]


@pytest.mark.parametrize("colour", COLOURS)
def test_cmyk_colours_are_right(colour: str) -> None:
    rgb = Image.new("RGB", (16, 16), colour)
    cmyk = rgb.convert("CMYK")
    adobe = encoded(cmyk, "JPEG", quality=95)
    plain = without_adobe_marker(encoded(ImageChops.invert(cmyk), "JPEG", quality=95))
    for data in (adobe, plain, encoded(cmyk, "TIFF")):
        np.testing.assert_allclose(pixels(data), np.asarray(rgb).astype(int), atol=8)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_palette_colours_are_right(kind: str) -> None:
    picture = Image.fromarray(corners()).quantize(8)
    assert np.array_equal(pixels(encoded(picture, kind)), corners())


def half_clear(mode: str) -> Image.Image:
    """The left half is fully transparent, the right half opaque black."""
    image = Image.new("RGBA", (16, 8), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (8, 0, 16, 8))
    return image.convert(mode)


@pytest.mark.parametrize(
    "data",
    [
        encoded(half_clear("RGBA"), "PNG"),
        encoded(half_clear("LA"), "PNG"),
        encoded(half_clear("RGBA"), "WEBP", lossless=True),
        encoded(half_clear("RGBA"), "TIFF"),
        encoded(half_clear("RGBA").quantize(4), "PNG"),
        encoded(half_clear("RGBA"), "GIF"),
        encoded(Image.fromarray(np.array([[7] * 8 + [0] * 8], np.uint8)), "PNG", transparency=7),
        encoded(Image.fromarray(np.array([[7] * 8 + [0] * 8], np.uint16)), "PNG", transparency=7),
        encoded(Image.fromarray(np.array([[[7, 8, 9]] * 8 + [[0] * 3] * 8], np.uint8)), "PNG", transparency=(7, 8, 9)),
    ],
    ids=["RGBA", "LA", "WebP", "TIFF", "palette", "GIF", "grey key", "16-bit key", "RGB key"],
)
def test_transparency_lies_on_white(data: bytes) -> None:
    result = pixels(data)
    assert (result[:, :8] == 255).all()
    assert (result[:, 8:] == 0).all()


def test_half_transparent_red_on_white_is_pink() -> None:
    np.testing.assert_allclose(
        pixels(encoded(Image.new("RGBA", (4, 4), (255, 0, 0, 128)), "PNG"))[0, 0], [255, 127, 127]
    )


def with_tag(tiff: bytes, tag: int, value: int) -> bytes:
    """A little-endian TIFF with another value in one of its tags."""
    entry = tiff.index(struct.pack("<HHI", tag, 3, 1))
    return tiff[: entry + 8] + struct.pack("<H", value) + tiff[entry + 10 :]


def test_premultiplied_grey_is_read() -> None:
    # Not every Pillow reads a file of this mode, so the image is made in memory.
    result = rgb(half_clear("LA").convert("La"))
    assert result[0, [0, 15], 0].tolist() == [255, 0]


def test_one_bit_and_grey() -> None:
    checks = np.indices((8, 8)).sum(axis=0) % 2 * 255
    for kind in ("PNG", "TIFF", "PPM", "BMP"):
        one_bit = Image.fromarray(checks.astype(np.uint8)).convert("1", dither=Image.Dither.NONE)
        assert np.array_equal(pixels(encoded(one_bit, kind))[..., 0], checks), kind
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(pixels(encoded(Image.fromarray(ramp), "PNG")), np.stack([ramp] * 3, axis=2))


def big_endian(values: NDArray[np.uint16]) -> bytes:
    height, width = values.shape
    tags = [(256, 3, width), (257, 3, height), (258, 3, 16), (259, 3, 1), (262, 3, 1)]
    offset = 8 + 2 + 12 * (len(tags) + 4) + 4
    tags += [(273, 4, offset), (277, 3, 1), (278, 3, height), (279, 4, values.size * 2)]
    entries = b"".join(
        struct.pack(">HHI", tag, kind, 1) + (struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">I", value))
        for tag, kind, value in tags
    )
    return b"MM\0*" + struct.pack(">IH", 8, len(tags)) + entries + bytes(4) + values.astype(">u2").tobytes()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "TIFF, big-endian", "PPM", "JPEG2000"])
def test_a_16_bit_ramp_keeps_its_order_and_range(kind: str) -> None:
    ramp = np.linspace(0, 65535, 64 * 64).round().astype(np.uint16).reshape(64, 64)
    if kind == "PPM":  # not every Pillow writes it with 16 bits
        data = b"P5 64 64 65535\n" + ramp.astype(">u2").tobytes()
    else:
        data = big_endian(ramp) if "big" in kind else encoded(Image.fromarray(ramp), kind)
    grey = pixels(data)[..., 0].astype(int)
    assert grey.min() == 0 and grey.max() == 255
    if kind != "JPEG2000":  # which is lossy
        assert (np.diff(grey.ravel()) >= 0).all()
    np.testing.assert_allclose(grey, ramp / 257, atol=1)


def test_16_bit_tiff_with_white_as_zero_is_inverted() -> None:
    values = Image.fromarray(np.array([[0, 65535]], np.uint16))
    data = with_tag(encoded(values, "TIFF"), ExifTags.Base.PhotometricInterpretation, 0)
    assert pixels(data)[0, :, 0].tolist() == [255, 0]


def test_12_bit_tiff_reaches_white() -> None:
    packed = b"\x00\x0f\xff"  # two values of 12 bits: 0 and 4095
    two = Image.fromarray(np.frombuffer(packed + b"\0", "<u2").reshape(1, 2))
    data = with_tag(encoded(two, "TIFF"), ExifTags.Base.BitsPerSample, 12)
    assert pixels(data)[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize(
    ("values", "kind"),
    [(np.ones((4, 4), np.float32), "TIFF"), (np.ones((4, 4), np.float32), "PPM"), (np.ones((4, 4), np.int32), "TIFF")],
    ids=["float TIFF", "float map", "32-bit TIFF"],
)
def test_values_without_an_agreed_white_are_refused(values: NDArray[np.generic], kind: str) -> None:
    answer = decode(encoded(Image.fromarray(values), kind), "a")
    assert isinstance(answer, Rejected)
    assert answer.reason is Reason.UNSUPPORTED_PIXELS
    assert "save it with 8 or 16" in answer.detail
