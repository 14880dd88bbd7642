"""No bytes whatever make the open function raise: the answer is an upright RGB image or a rejection."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from manyeyes.images import Reason, Rejected, decode

MAX_PIXELS = 10_000  # a mutated header may ask for any size; the memory for it is not what is tested here

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def _files() -> list[bytes]:
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    picture = Image.fromarray(noise)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    variants: list[tuple[Image.Image, str, dict[str, object]]] = [
        (picture, "JPEG", {"exif": exif}),
        (picture, "JPEG", {"progressive": True}),
        (picture.convert("CMYK"), "JPEG", {}),
        (picture, "PNG", {"exif": exif}),
        (picture.quantize(16), "PNG", {"transparency": 3}),
        (Image.fromarray(noise[..., 0].astype(np.uint16) * 257), "PNG", {}),
        (picture, "GIF", {"save_all": True, "append_images": [picture.rotate(180)]}),
        (picture, "WEBP", {"exif": exif}),
        (picture, "WEBP", {"lossless": True}),
        (picture, "TIFF", {"exif": exif}),
        (picture, "TIFF", {"compression": "tiff_lzw"}),
        (picture.convert("LA"), "TIFF", {"compression": "tiff_deflate"}),
        (picture, "BMP", {}),
        (picture, "PPM", {}),
        (picture, "JPEG2000", {}),
    ]
    files = []
    for image, kind, options in variants:
        buffer = BytesIO()
        image.save(buffer, kind, **options)
        files.append(buffer.getvalue())
    return files


FILES = _files()
SIGNATURES = sorted({data[:12] for data in FILES})


def check(data: bytes) -> None:
    answer = decode(data, "a", MAX_PIXELS)
    if isinstance(answer, Rejected):
        assert isinstance(answer.reason, Reason)
        assert str(answer).isprintable()
    else:
        height, width, channels = answer.shape
        assert (answer.dtype, channels) == (np.uint8, 3)
        assert width * height <= MAX_PIXELS


@pytest.mark.parametrize("data", FILES)
def test_the_files_are_good_before_they_are_mutated(data: bytes) -> None:
    assert isinstance(decode(data, "a", MAX_PIXELS), np.ndarray)


@given(st.binary(max_size=300))
def test_arbitrary_bytes(data: bytes) -> None:
    check(data)


@given(st.sampled_from(SIGNATURES), st.binary(max_size=300))
def test_arbitrary_bytes_behind_a_signature(head: bytes, rest: bytes) -> None:
    check(head + rest)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_truncated_and_mutated_files(draw: st.DataObject) -> None:
    data = bytearray(draw.draw(st.sampled_from(FILES)))
    # Half of the places are near the front, where the headers are.
    place = st.one_of(st.integers(0, min(len(data), 120) - 1), st.integers(0, len(data) - 1))
    for position, value in draw.draw(st.lists(st.tuples(place, st.integers(0, 255)), max_size=8)):
        data[position] = value
    check(bytes(data[: draw.draw(st.integers(0, len(data)))] if draw.draw(st.booleans()) else data))
