"""Photos behind a URL are listed and read as those of this machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from far import Far
from PIL import Image

from manyeyes import places
from manyeyes.errors import OfflineError, PhotoSourceError, PlaceError
from manyeyes.features.extract import fill_store
from manyeyes.features.store import FeatureStore
from manyeyes.home import network_off
from manyeyes.images import Reason, Rejected, list_photos, read_bytes, read_photos

FILES = ["train/a b/1.jpg", "train/a b/in/2.PNG", "train/c/3.jpg", "test/c/4.jpg", "test/.hidden/5.jpg", "notes.txt"]


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (len(name), 0, 0)).save(root / name, "png")


@pytest.fixture(params=["file://", "fsspec+file://"])
def url(request, tmp_path):
    put(tmp_path / "photos", *FILES)
    return f"{request.param}{tmp_path}/photos"


def without(url, paths):
    return [path.removeprefix(f"{url}/") for path in paths]


def test_a_folder_is_searched(url, tmp_path):
    found = list_photos([f"{url}/", f"{url}/notes.txt"])
    local = list_photos([tmp_path / "photos"])
    assert without(url, found) == [*without(tmp_path / "photos", local), "notes.txt"]


def test_bytes_are_those_of_the_file(url, tmp_path):
    for name in FILES:
        assert read_bytes(f"{url}/{name}") == (tmp_path / "photos" / name).read_bytes()


def test_classes_and_splits_are_those_of_the_same_folder_here(url, tmp_path):
    for folder in ("", "/train"):
        there, here = read_photos(f"{url}{folder}"), read_photos(tmp_path / f"photos{folder}")
        assert without(url, there.paths) == without(tmp_path / "photos", here.paths)
        assert (there.labels, there.splits) == (here.labels, here.splits)
    assert there.splits is None


@pytest.mark.parametrize(
    "names",
    [
        ["train/x/1.jpg"],
        ["Training/x/1.jpg", "VAL/y/2.jpg", "VAL/3.jpg"],
        ["val/x/1.jpg", "test/x/2.jpg"],
        ["train/1.jpg", "test/2.jpg"],
        ["bus/x/1.jpg", "test/2.jpg", "train/3.jpg"],
        ["train/x/1.jpg", "test/notes.txt"],
        ["train/x/1.jpg", "test/x/2.jpg", "docs/paper.pdf", ".cache/3.jpg"],
    ],
    ids=", ".join,
)
@pytest.mark.parametrize("scheme", ["file://", "fsspec+file://"])
def test_what_is_a_split_here_is_one_there(tmp_path, scheme, names):
    put(tmp_path, *names)
    here, there = read_photos(tmp_path), read_photos(f"{scheme}{tmp_path}")
    assert (there.labels, there.splits) == (here.labels, here.splits)


def test_splits_beside_other_photos_are_an_error_there_too(url, tmp_path):
    put(tmp_path, "photos/bus/1.jpg")
    with pytest.raises(PhotoSourceError) as here:
        read_photos(tmp_path / "photos")
    with pytest.raises(PhotoSourceError) as there:
        read_photos(url)
    assert str(there.value) == str(here.value).replace(str(tmp_path / "photos"), url)


def test_loose_photos_are_left_out_and_told_of(url, tmp_path):
    put(tmp_path / "photos", "train/loose.jpg")
    found = read_photos(f"{url}/train")
    assert found.labels == ("a b", "a b", "c")
    assert found.notes == (f"{url}/train: left out 1 photos outside the class folders",)


def test_what_holds_no_photos(url):
    for place in ("train/c", "nowhere", "notes.txt"):
        with pytest.raises(PhotoSourceError, match=r"no photos in|is no folder"):
            read_photos(f"{url}/{place}")


def test_a_manifest_there_and_a_manifest_here(url, tmp_path):
    text = f"path,label\ntrain/c/3.jpg,c\n{url}/test/c/4.jpg,d\n{tmp_path}/photos/notes.txt,d\n"
    (tmp_path / "photos" / "list.csv").write_text(text)
    (tmp_path / "list.csv").write_text(text)
    there = read_photos(f"{url}/list.csv")
    others = [f"{url}/test/c/4.jpg", f"{tmp_path}/photos/notes.txt"]
    assert list(there.paths) == [f"{url}/train/c/3.jpg", *others]
    assert there.labels == ("c", "d", "d")
    assert list(read_photos(tmp_path / "list.csv").paths) == [str(tmp_path / "train/c/3.jpg"), *others]
    assert list_photos([f"{url}/list.csv"]) == list(there.paths)


def test_what_cannot_be_read_is_an_answer(url, tmp_path, monkeypatch):
    def reason(path: str) -> Reason:
        answer = read_bytes(path)
        assert isinstance(answer, Rejected)
        assert answer.path == path
        return answer.reason

    assert reason(f"{url}/none.jpg") == Reason.MISSING
    assert reason(f"{url}/notes.txt/none.jpg") == Reason.MISSING
    assert reason(f"{url}/train") == Reason.NOT_A_FILE
    assert reason("s3://bucket/photo.jpg") == Reason.UNREADABLE  # the network is denied
    monkeypatch.setattr("manyeyes.images.remote.MAX_BYTES", 10)
    assert reason(f"{url}/notes.txt") == Reason.TOO_LARGE


@pytest.fixture
def far(tmp_path, online, monkeypatch) -> Iterator[str]:
    """The URL of a folder with a photo and a manifest, on a filesystem that fails when it is told to."""
    monkeypatch.setattr(places, "WAITS", (0.001, 0.002))
    put(tmp_path, "c/1.jpg")
    (tmp_path / "list.csv").write_text("path,label\nc/1.jpg,c\n")
    Far.asked.clear()
    yield f"fsspec+far://{tmp_path}"
    Far.failures.clear()


# As the packages that fsspec asks raise them: gcsfs's and aiohttp's are no OSError.
HICCUPS = [OSError(5, "Input/output error"), TimeoutError(), RuntimeError("503 Slow Down")]


@pytest.mark.parametrize("error", HICCUPS, ids=repr)
def test_a_place_that_fails_is_asked_again(far, error):
    for ask in (
        lambda: read_bytes(f"{far}/c/1.jpg"),
        lambda: read_photos(far),
        lambda: read_photos(f"{far}/list.csv"),
        lambda: list_photos([far]),
    ):
        expected = ask()
        Far.failures += [error] * 2
        assert ask() == expected
        assert not Far.failures


@pytest.mark.parametrize("error", HICCUPS, ids=repr)
def test_a_place_that_keeps_failing_is_no_photos_fault(far, error):
    for place, ask in (("/c/1.jpg", read_bytes), ("", read_photos), ("/list.csv", read_photos)):
        Far.failures[:] = [error] * 9
        with pytest.raises(PlaceError) as told:
            ask(f"{far}{place}")
        assert str(told.value) == f"{far}{place} cannot be read: {str(error) or type(error).__name__}"


def test_a_place_that_lets_nobody_in_is_asked_once(far):
    Far.failures.append(PermissionError(13, "Permission denied"))
    with pytest.raises(PlaceError, match=r"/c/1.jpg cannot be read: .*Permission denied$"):
        read_bytes(f"{far}/c/1.jpg")
    assert len(Far.asked) == 1


def test_a_photo_that_is_gone_is_asked_for_once(far):
    gone = read_bytes(f"{far}/c/2.jpg")
    assert isinstance(gone, Rejected)
    assert gone.reason == Reason.MISSING
    Far.asked.clear()
    Far.failures.append(FileNotFoundError(2, "No such file or directory"))
    assert read_bytes(f"{far}/c/1.jpg") == Rejected(f"{far}/c/1.jpg", Reason.MISSING, "no such file")
    assert len(Far.asked) == 1


def test_offline_nothing_is_asked_in_any_thread(far, tmp_path):
    (tmp_path / "far.csv").write_text(f"path,label\n{far}/c/1.jpg,c\ns3://bucket/2.jpg,c\n")
    store = FeatureStore(tmp_path / "features")
    with network_off():
        photos = read_photos(tmp_path / "far.csv")
        rejected = fill_store(photos.paths, [], store).rejected
        with pytest.raises(OfflineError):
            read_photos(far)
    assert [one.path for one in rejected] == list(photos.paths)
    assert all("the network is not allowed" in one.detail for one in rejected)
    assert Far.asked == []
    assert len(fill_store(photos.paths[:1], [], store).photos) == 1
    assert Far.asked
