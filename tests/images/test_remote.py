"""Photos behind a URL are listed and read as those of this machine."""

from pathlib import Path

import pytest
from PIL import Image

from manyeyes.errors import PhotoSourceError
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
    assert reason(f"{url}/train") == Reason.NOT_A_FILE
    assert reason("s3://bucket/photo.jpg") == Reason.UNREADABLE  # the network is denied
    monkeypatch.setattr("manyeyes.images.remote.MAX_BYTES", 10)
    assert reason(f"{url}/notes.txt") == Reason.TOO_LARGE
