"""Every kind of file that turns up in photo folders, and what opening it answers."""

import hashlib
import os
import socket
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, features

from manyeyes.errors import ManyEyesError
from manyeyes.images import Photo, Reason, Rejected, decode, open_photo, read_bytes
from manyeyes.images import photo as photo_module


def scene(width: int = 24, height: int = 16) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 10, y * 15, (x + y) * 6], axis=2).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def rejection(data: bytes) -> Rejected:
    answer = decode(data, "some/file.jpg")
    assert isinstance(answer, Rejected)
    assert answer.path == "some/file.jpg"
    assert answer.detail and "\n" not in str(answer)
    return answer


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of_size(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds almost no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 64)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def gif_of_size(screen: tuple[int, int], frame: tuple[int, int]) -> bytes:
    """A GIF whose first frame may reach beyond the screen, behind a comment and a colour table."""
    head = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + bytes(6)
    comment = b"!\xfe\x03a,b\x02cd\0"
    return head + comment + b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x04\x0a\0;"


def webp_of_size(width: int, height: int) -> bytes:
    """An animation of small frames on a canvas that its header declares to be large."""
    data = bytearray(encoded(scene(), "WEBP", save_all=True, append_images=[scene().rotate(180)]))
    assert data[12:16] == b"VP8X"
    data[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(data)


def tiff_of_size(width: int, height: int) -> bytes:
    tags = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1)]
    tags += [(278, 4, height), (279, 4, width * height % 2**32)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + bytes(4)


@contextmanager
def as_a_user_without_rights(path: Path) -> Iterator[None]:
    path.chmod(0)
    if os.geteuid():
        yield
        return
    os.seteuid(65534)  # file rights do not bind root
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_good_photo_comes_with_the_digest_of_its_bytes(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    scene().save(file)

    photo = open_photo(file)

    assert isinstance(photo, Photo)
    assert photo.path == str(file)
    assert photo.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert photo.image.dtype == np.uint8
    assert np.array_equal(photo.image, np.asarray(scene()))


def test_bytes_can_be_read_without_decoding(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"no image at all")
    assert read_bytes(file) == b"no image at all"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "JPEG2000"])
def test_content_decides_and_not_the_name(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "named wrongly.txt"
    file.write_bytes(encoded(scene(), kind))
    photo = open_photo(file)
    assert isinstance(photo, Photo)
    assert photo.image.shape == (16, 24, 3)


def test_avif_is_read_where_pillow_can() -> None:
    if features.check("avif"):
        assert isinstance(decode(encoded(scene(), "AVIF"), "a"), np.ndarray)
    else:
        assert rejection(b"\0\0\0\x20ftypavif" + bytes(20)).reason is Reason.NOT_AN_IMAGE


# --- what the file system answers -----------------------------------------------------------------------------------


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's address holds about 100 characters
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, Reason.MISSING),
        (lambda path: path.symlink_to("nowhere.jpg"), Reason.MISSING),
        (lambda path: path.symlink_to(path), Reason.UNREADABLE),
        (lambda path: path.symlink_to("/dev/zero"), Reason.NOT_A_FILE),
        (lambda path: path.mkdir(), Reason.NOT_A_FILE),
        (make_pipe, Reason.NOT_A_FILE),
        (make_socket, Reason.NOT_A_FILE),
        (lambda path: path.touch(), Reason.EMPTY),
        (lambda path: path.write_text("<!DOCTYPE html><title>404</title>"), Reason.NOT_AN_IMAGE),
    ],
    ids=["missing", "dangling", "loop", "device", "folder", "pipe", "socket", "empty", "web page"],
)
def test_files_that_are_no_photos(tmp_path: Path, make: Callable[[Path], object], reason: Reason) -> None:
    path = tmp_path / "a.jpg"
    make(path)
    answer = open_photo(path)
    assert isinstance(answer, Rejected)
    assert answer.reason is reason
    assert str(answer).startswith(f"{path}: {reason} (")


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    scene().save(file)
    with as_a_user_without_rights(file):
        answer = open_photo(file)
    assert isinstance(answer, Rejected) and answer.reason is Reason.NO_PERMISSION


def test_a_file_below_a_file_is_missing(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    answer = open_photo(tmp_path / "a" / "b.jpg")
    assert isinstance(answer, Rejected) and answer.reason is Reason.MISSING


@pytest.mark.parametrize("name", ["null\0character.jpg", "x" * 5000], ids=["null", "too long"])
def test_impossible_names_are_rejected(tmp_path: Path, name: str) -> None:
    answer = open_photo(f"{tmp_path}/{name}")
    assert isinstance(answer, Rejected) and answer.reason is Reason.UNREADABLE
    assert str(answer).isprintable()


def test_a_file_of_too_many_bytes_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "film.jpg"
    with file.open("wb") as sparse:
        sparse.truncate(photo_module.MAX_BYTES + 1)
    answer = open_photo(file)
    assert isinstance(answer, Rejected) and answer.reason is Reason.TOO_LARGE


def test_names_that_are_not_utf8_or_hold_newlines(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9\nau lait.jpg")
    file = tmp_path / name
    file.write_bytes(encoded(scene(), "JPEG"))
    assert isinstance(open_photo(file), Photo)

    file.write_bytes(b"GIF89a")
    line = str(open_photo(file))
    assert r"caf\udce9\nau lait.jpg" in line
    assert line.isprintable() and line.encode()


# --- broken content -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_a_truncated_file_is_damaged(kind: str, share: float) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    data = encoded(noise, kind)
    assert rejection(data[: int(len(data) * share)]).reason is Reason.DAMAGED


@pytest.mark.parametrize("options", [{"progressive": True}, {"optimize": True}])
def test_a_truncated_jpeg_of_another_kind_is_damaged(options: dict[str, bool]) -> None:
    data = encoded(scene(640, 480), "JPEG", **options)
    assert rejection(data[: len(data) // 2]).reason is Reason.DAMAGED


def test_the_global_leniency_for_truncated_files_is_never_switched_on() -> None:
    rejection(encoded(scene(), "JPEG")[:-100])
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "BMP", "PPM", "JPEG2000"])
def test_no_truncated_file_passes_when_another_package_is_lenient(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    data = encoded(scene(640, 480), kind)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(ManyEyesError, match=r"LOAD_TRUNCATED_IMAGES is set, .*: set it to False"):
        decode(data[: len(data) // 2], "a")


def test_leniency_switched_on_while_a_photo_is_decoded_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    load = ImageFile.ImageFile.load

    def lenient(self: ImageFile.ImageFile) -> object:
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
        return load(self)

    monkeypatch.setattr("PIL.BmpImagePlugin.BmpImageFile.load", lenient)
    with pytest.raises(ManyEyesError, match="LOAD_TRUNCATED_IMAGES"):
        decode(encoded(scene(), "BMP")[:-100], "a")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "head", [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\0\0\0\0WEBP", b"II*\0", b"BM"]
)
def test_a_signature_alone_is_damaged(head: bytes) -> None:
    assert rejection(head).reason is Reason.DAMAGED
    assert rejection(head + b"and then text" * 20).reason is Reason.DAMAGED


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\0\0\0\x18ftypheic" + bytes(40), "HEIC"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "begins with"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "<svg"),
        (b"%PDF-1.7 \xff\xfe", "%PDF"),
        (bytes(100), "begins with"),
    ],
    ids=["heic", "eps", "svg", "pdf", "zeros"],
)
def test_other_formats_are_told_apart(data: bytes, words: str) -> None:
    answer = rejection(data)
    assert answer.reason is Reason.NOT_AN_IMAGE
    assert words in answer.detail


def test_a_png_with_a_text_bomb_is_damaged() -> None:
    data = encoded(scene(), "PNG")
    bomb = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(200_000_000), 9))
    start = len(b"\x89PNG\r\n\x1a\n") + 25
    assert rejection(data[:start] + bomb + data[start:]).reason is Reason.DAMAGED


def test_a_png_with_a_long_plain_text_is_good() -> None:
    data = encoded(scene(), "PNG")
    start = len(b"\x89PNG\r\n\x1a\n") + 25
    text = png_chunk(b"tEXt", b"Comment\0" + b"x" * 5_000_000)
    assert isinstance(decode(data[:start] + text + data[start:], "a"), np.ndarray)


@pytest.mark.parametrize("error", [RecursionError("deep"), struct.error("short"), KeyError("mode")])
def test_whatever_a_decoder_throws_is_an_answer(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(self: object) -> None:
        raise error

    monkeypatch.setattr("PIL.BmpImagePlugin.BmpImageFile.load", fail)
    assert rejection(encoded(scene(), "BMP")).reason is Reason.DAMAGED


@pytest.mark.parametrize(
    "place", ["pathlib.Path.read_bytes", "PIL.BmpImagePlugin.BmpImageFile.load", "PIL.Image.Image.getexif"]
)
def test_too_little_memory_is_no_fault_of_the_photo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def fail(self: object) -> None:
        raise MemoryError

    (tmp_path / "a.bmp").write_bytes(encoded(scene(), "BMP"))
    monkeypatch.setattr(place, fail)
    with pytest.raises(MemoryError):
        open_photo(tmp_path / "a.bmp")


# --- too many pixels ------------------------------------------------------------------------------------------------

BOMBS = {
    "png": png_of_size(40_000, 40_000),
    "png just over": png_of_size(10_001, 10_000),
    "gif": gif_of_size((60_000, 60_000), (1, 1)),
    "gif with a frame beyond its screen": gif_of_size((1, 1), (60_000, 60_000)),
    "gif where pillow would only warn": gif_of_size((1, 1), (9_500, 9_500)),
    "tiff": tiff_of_size(60_000, 60_000),
    "tiff where pillow would only warn": tiff_of_size(9_500, 9_500),
    "bmp": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 50_000, 50_000, 1, 24, 0, 0, 0, 0, 0, 0),
    "ppm": b"P6 50000 50000 255\n",
    "webp": webp_of_size(16_384, 16_384),
    "webp just over": webp_of_size(10_001, 10_000),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_by_its_header_and_without_a_warning(name: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert rejection(BOMBS[name]).reason is Reason.TOO_LARGE
    assert not caught


def test_pillow_is_silent_between_its_limit_and_ours() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # Its pixels are missing, so that it takes no memory; what counts is that the size was no reason.
        assert rejection(png_of_size(9_900, 9_900)).reason is Reason.DAMAGED
    assert not caught


def test_the_limit_can_be_set_and_pillows_own_stays() -> None:
    before = Image.MAX_IMAGE_PIXELS
    data = encoded(scene(), "PNG")
    assert isinstance(decode(data, "a", max_pixels=24 * 16), np.ndarray)
    refused = decode(data, "a", max_pixels=24 * 16 - 1)
    assert isinstance(refused, Rejected) and refused.reason is Reason.TOO_LARGE
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_frame_beyond_the_screen_within_the_limit_is_good() -> None:
    image = decode(gif_of_size((1, 1), (2, 1)), "a")
    assert isinstance(image, np.ndarray) and image.shape == (1, 2, 3)


def test_many_threads_give_the_same_answers() -> None:
    files = [encoded(scene(), kind) for kind in ("JPEG", "PNG", "TIFF", "WEBP")] + list(BOMBS.values())
    alone = [decode(data, "a") for data in files]
    answers: dict[int, list[object]] = {}

    def work(number: int) -> None:
        answers[number] = [decode(data, "a") for data in files]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(8):
        for answer, expected in zip(answers[number], alone, strict=True):
            assert type(answer) is type(expected)
            assert np.array_equal(answer, expected) if isinstance(answer, np.ndarray) else answer == expected


def test_the_first_frame_of_an_animation_is_taken() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        image = decode(data, "a")
        assert isinstance(image, np.ndarray)
        np.testing.assert_allclose(image[4, 4], [255, 0, 0], atol=5, err_msg=kind)


def test_the_first_picture_of_a_multi_picture_jpeg_is_taken() -> None:
    red, blue = (Image.new("RGB", (16, 16), colour) for colour in ("red", "blue"))
    image = decode(encoded(red, "MPO", save_all=True, append_images=[blue]), "a")
    assert isinstance(image, np.ndarray)
    np.testing.assert_allclose(image[8, 8], [255, 0, 0], atol=5)
