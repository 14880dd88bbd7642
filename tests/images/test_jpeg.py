"""Whichever of its two decoders takes a JPEG, the answer is the same; and a large one is the same photo in small."""

from collections.abc import Callable
from functools import cache
from io import BytesIO

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import ExifTags, Image

from manyeyes.images import MAX_PIXELS, Reason, Rejected, decode, jpeg
from manyeyes.images.resize import resize


@cache
def texture(width: int, height: int) -> Image.Image:
    """Noise whose amplitude falls with frequency, as it does in photos."""
    noise = np.random.default_rng(0).standard_normal((height, width, 3))
    field = sum(2**octave * scipy.ndimage.gaussian_filter(noise, (2**octave, 2**octave, 0)) for octave in range(6))
    return Image.fromarray((127 + 50 * field / field.std()).clip(0, 255).astype(np.uint8))


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


def encoded(image: Image.Image, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


KINDS: dict[str, Callable[[Image.Image], bytes]] = {
    "plain": encoded,
    "progressive": lambda image: encoded(image, progressive=True),
    "all colours": lambda image: encoded(image, subsampling=0),
    "half the colours": lambda image: encoded(image, subsampling=1),
    "turned": lambda image: encoded(image, exif=turned(6)),
    "restarts": lambda image: encoded(image, restart_marker_blocks=1),
    "RGB": lambda image: encoded(image, keep_rgb=True),
    "grey": lambda image: encoded(image.convert("L")),
    "CMYK": lambda image: encoded(image.convert("CMYK")),
}
FILES = {name: kind(texture(45, 30)) for name, kind in KINDS.items()}


def by_pillow(data: bytes, max_pixels: int) -> NDArray[np.uint8] | Rejected:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jpeg, "decode_jpeg", None)
        return decode(data, "a", max_pixels)


def answer_of_both(data: bytes, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8] | Rejected:
    fast, pillows = decode(data, "a", max_pixels), by_pillow(data, max_pixels)
    if isinstance(fast, Rejected) or isinstance(pillows, Rejected):
        assert fast == pillows
    else:
        assert fast.shape == pillows.shape
        assert np.abs(fast.astype(int) - pillows).mean() < 1
    return fast


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("size", [(1, 1), (7, 7), (45, 30), (64, 300)])
def test_both_decoders_see_the_same(name: str, size: tuple[int, int]) -> None:
    assert isinstance(answer_of_both(KINDS[name](texture(*size))), np.ndarray)


@pytest.mark.parametrize("name", [name for name in KINDS if name != "CMYK"])
def test_simplejpeg_takes_the_plain_cases(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.load", lambda self: pytest.fail("Pillow decoded"))
    assert isinstance(decode(FILES[name], "a"), np.ndarray)


@given(st.data())
def test_both_decoders_judge_damaged_files_alike(draw: st.DataObject) -> None:
    data = bytearray(draw.draw(st.sampled_from(list(FILES.values()))))
    # Markers among what is put in, which change how the rest is read.
    byte = st.one_of(st.integers(0, 255), st.sampled_from([0, 0xFF, 0xC0, 0xC4, 0xD0, 0xD8, 0xD9, 0xDA]))
    for place, value in draw.draw(st.lists(st.tuples(st.integers(0, len(data) - 1), byte), max_size=4)):
        data[place] = value
    start = draw.draw(st.integers(0, len(data)))
    data[start : start + draw.draw(st.integers(0, 9))] = draw.draw(st.binary(max_size=9))
    ends = draw.draw(st.sampled_from([b"", b"\xff\xd9", b"trailing"]))
    damaged = bytes(data[: draw.draw(st.integers(0, len(data)))] if draw.draw(st.booleans()) else data) + ends
    # A mutated header may ask for any size; the time and memory for it are not what is tested here.
    answer_of_both(damaged, max_pixels=10_000)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_both_decoders_reject_what_was_cut_off(name: str, share: float) -> None:
    answer = answer_of_both(FILES[name][: int(len(FILES[name]) * share)])
    assert isinstance(answer, Rejected) and answer.reason is Reason.DAMAGED


def test_too_little_memory_is_no_fault_of_the_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(jpeg, "decode_jpeg", fail)
    with pytest.raises(MemoryError):
        decode(FILES["plain"], "a")


# --- large photos ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((60, 45), (60, 45)),
        ((59, 300), (59, 300)),
        ((60, 300), (30, 150)),
        ((2000, 480), (250, 60)),
        # No proportions but those of the whole photo.
        ((121, 244), (121, 244)),
        ((484, 244), (121, 61)),
        ((486, 244), (243, 122)),
    ],
)
@pytest.mark.parametrize("name", ["plain", "progressive", "turned", "grey", "CMYK"])
def test_a_large_photo_comes_smaller_with_enough_left(
    name: str, size: tuple[int, int], expected: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jpeg, "ENOUGH", 30)
    answer = answer_of_both(KINDS[name](texture(*size)))
    assert isinstance(answer, np.ndarray)
    width, height = expected
    assert answer.shape[:2] == ((width, height) if name == "turned" else (height, width))


@pytest.mark.parametrize("name", ["plain", "progressive"])
def test_a_large_photo_that_was_cut_off_is_damaged(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpeg, "ENOUGH", 30)
    data = KINDS[name](texture(320, 240))
    answer = answer_of_both(data[: int(len(data) * 0.8)])
    assert isinstance(answer, Rejected) and answer.reason is Reason.DAMAGED


def test_the_limit_is_for_the_size_that_the_file_declares() -> None:
    data = encoded(Image.new("RGB", (4000, 3000)))
    answer = decode(data, "a", max_pixels=4000 * 3000 - 1)
    assert isinstance(answer, Rejected) and answer.reason is Reason.TOO_LARGE


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("scale", [2, 4, 8])
def test_what_is_seen_of_a_large_photo_stays_the_same(
    scale: int, interpolation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(texture(120 * scale, 90 * scale), quality=92)
    whole = decode(data, "a")
    monkeypatch.setattr(jpeg, "ENOUGH", 90)
    small = decode(data, "a")
    assert isinstance(whole, np.ndarray) and isinstance(small, np.ndarray) and small.shape == (90, 120, 3)
    # A quarter of what is left, as the inputs of backbones are at most.
    seen = [resize(photo, 30, 22, interpolation).astype(int) for photo in (whole, small)]
    assert np.abs(seen[0] - seen[1]).mean() < 1
