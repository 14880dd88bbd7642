import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manyeyes.errors import PhotoSourceError
from manyeyes.images import PhotoSet, list_photos, read_photos


def put(root: Path, *names: str) -> Path:
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return root


def relative(photos: PhotoSet, root: Path) -> list[tuple[str, str]]:
    return [
        (Path(path).relative_to(root).as_posix(), label)
        for path, label in zip(photos.paths, photos.labels, strict=True)
    ]


def test_the_class_is_the_first_folder(tmp_path: Path) -> None:
    put(tmp_path, "dog/b.jpg", "dog/2020/may/a.PNG", "cat/a.webp")
    photos = read_photos(tmp_path)
    assert relative(photos, tmp_path) == [("cat/a.webp", "cat"), ("dog/2020/may/a.PNG", "dog"), ("dog/b.jpg", "dog")]
    assert photos.splits is photos.groups is None
    assert photos.notes == ()


def test_a_relative_source_gives_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "photos/dog/a.jpg")
    monkeypatch.chdir(tmp_path)
    assert read_photos("photos").paths == (str(Path("photos/dog/a.jpg")),)


def test_hidden_and_system_files_are_left_out_silently(tmp_path: Path) -> None:
    put(tmp_path, "dog/a.jpg", "dog/.DS_Store", "dog/._a.jpg", "dog/Thumbs.db", "dog/desktop.ini")
    put(tmp_path, ".ipynb_checkpoints/a.jpg", "__MACOSX/dog/a.jpg", "dog/.hidden/a.jpg", ".a.jpg")
    put(tmp_path, "labels.csv", "README.md")
    photos = read_photos(tmp_path)
    assert relative(photos, tmp_path) == [("dog/a.jpg", "dog")]
    assert photos.notes == ()


def test_other_files_are_left_out_with_a_note_and_broken_photos_stay(tmp_path: Path) -> None:
    put(tmp_path, "dog/empty.jpg", "dog/notes.txt", "dog/film.mp4", "dog/noending", "dog/phone.HEIC")
    (tmp_path / "dog" / "dangling.jpg").symlink_to("nowhere")
    (tmp_path / "dog" / "circle.jpg").symlink_to("circle.jpg")
    photos = read_photos(tmp_path)
    assert [Path(path).name for path in photos.paths] == ["circle.jpg", "dangling.jpg", "empty.jpg", "phone.HEIC"]
    assert len(photos.notes) == 1
    assert "left out 3 files" in photos.notes[0] and "(.mp4, .txt, no ending)" in photos.notes[0]


def test_names_of_all_kinds(tmp_path: Path) -> None:
    names = [
        "a b/x.jpg",
        "a/x.jpg",
        "кот/фото 1.jpg",
        "猫/一.jpg",
        "new\nline/x\n.jpg",
        os.fsdecode(b"caf\xe9/\xff.jpg"),
    ]
    photos = read_photos(put(tmp_path, *names))
    assert relative(photos, tmp_path) == [(name, name.split("/")[0]) for name in sorted(names)]


def test_folders_named_like_photos_are_folders(tmp_path: Path) -> None:
    assert read_photos(put(tmp_path, "cat.jpg/a.jpg")).classes == ("cat.jpg",)


# --- order ----------------------------------------------------------------------------------------------------------


@contextmanager
def listed_in_order_of(seed: int) -> Iterator[None]:
    """Let the file system list every folder in an order of its own."""
    scandir = os.scandir
    chance = random.Random(seed)

    class Shuffled:
        def __init__(self, folder: Path) -> None:
            with scandir(folder) as entries:
                self.entries = list(entries)
            chance.shuffle(self.entries)

        def __enter__(self) -> Iterator[os.DirEntry[str]]:
            return iter(self.entries)

        def __exit__(self, *error: object) -> None:
            pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", Shuffled)
        yield


@pytest.fixture(scope="module")
def some_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    put(root, *(f"class{c}/{d}{i}.jpg" for c in range(3) for d in ("", "in/", "in side/") for i in range(4)))
    put(root, "empty/x.txt", "void/x.txt")
    (root / "class0" / "link").symlink_to("in")
    (root / "class1" / "circle").symlink_to(root)
    return root


@given(st.integers())
def test_any_order_of_listing_gives_the_same(some_photos: Path, seed: int) -> None:
    with listed_in_order_of(seed):
        shuffled, listed = read_photos(some_photos), list_photos([some_photos])
    assert shuffled == read_photos(some_photos)
    assert listed == list_photos([some_photos])
    assert list(shuffled.paths) == sorted(shuffled.paths)


# --- links ----------------------------------------------------------------------------------------------------------


def test_linked_folders_are_followed(tmp_path: Path) -> None:
    put(tmp_path, "elsewhere/a.jpg", "photos/cat/b.jpg")
    (tmp_path / "photos" / "dog").symlink_to(tmp_path / "elsewhere")
    root = tmp_path / "photos"
    assert relative(read_photos(root), root) == [("cat/b.jpg", "cat"), ("dog/a.jpg", "dog")]


def test_a_folder_with_two_names_is_read_by_the_first(tmp_path: Path) -> None:
    put(tmp_path, "cat/b/x.jpg")
    for link in ("a", "c"):
        (tmp_path / "cat" / link).symlink_to("b")
    assert relative(read_photos(tmp_path), tmp_path) == [("cat/a/x.jpg", "cat")]


def test_links_in_a_circle_come_to_an_end_and_bring_no_other_class(tmp_path: Path) -> None:
    put(tmp_path, "cat/a.jpg", "dog/b.jpg")
    (tmp_path / "cat" / "up").symlink_to(tmp_path)
    (tmp_path / "dog" / "here").symlink_to(".")
    assert relative(read_photos(tmp_path), tmp_path) == [("cat/a.jpg", "cat"), ("dog/b.jpg", "dog")]


def test_a_link_from_a_split_to_the_root_brings_no_photos_of_other_splits(tmp_path: Path) -> None:
    put(tmp_path, "train/cat/a.jpg", "test/cat/b.jpg")
    (tmp_path / "train" / "cat" / "up").symlink_to(tmp_path)
    assert [Path(path).name for path in read_photos(tmp_path).split("train").paths] == ["a.jpg"]


# --- splits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "val", "test"),
        ("Training", "valid", "Test"),
        ("TRAIN", "Validation", "testing"),
        ("train", "dev", "Testing"),
        ("training", "Eval", "TEST"),
    ],
)
def test_a_split_layout(tmp_path: Path, train: str, val: str, test: str) -> None:
    put(tmp_path, f"{train}/cat/a.jpg", f"{train}/dog/in/b.jpg", f"{val}/cat/c.jpg", f"{test}/dog/d.jpg")
    photos = read_photos(tmp_path)
    assert photos.classes == ("cat", "dog")
    assert photos.splits is not None
    assert {(Path(path).name, split) for path, split in zip(photos.paths, photos.splits, strict=True)} == {
        ("a.jpg", "train"),
        ("b.jpg", "train"),
        ("c.jpg", "val"),
        ("d.jpg", "test"),
    }


@pytest.mark.parametrize(
    "names",
    [
        ("train/x/a.jpg",),
        ("val/x/a.jpg", "test/x/b.jpg"),
        ("train/a.jpg", "test/b.jpg"),
        ("bus/x/a.jpg", "test/b.jpg", "train/c.jpg"),
    ],
    ids=["train alone", "no train", "no class folders", "no class folders beside other classes"],
)
def test_what_looks_like_splits_but_is_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    photos = read_photos(put(tmp_path, *names))
    assert photos.splits is None
    assert photos.classes == tuple(sorted(name.split("/")[0] for name in names))


def test_a_class_called_test_may_hold_links_and_empty_folders(tmp_path: Path) -> None:
    put(tmp_path, "cat/a.jpg", "test/b.jpg", "test/in/notes.txt")
    (tmp_path / "test" / "up").symlink_to(tmp_path)
    assert read_photos(tmp_path).classes == ("cat", "test")


@pytest.mark.parametrize(
    ("others", "words"),
    [
        (("unlabelled/b.jpg",), r"class folders \(test, train\) beside other photos \(unlabelled\)"),
        (("unlabelled/x/b.jpg", "new\nones/b.jpg"), r"photos \(new\\nones, unlabelled\)"),
        (tuple(f"{name}/x.jpg" for name in "abcde"), r"photos \(a, b, c and 2 more\)"),
    ],
)
def test_splits_beside_other_folders_are_an_error(tmp_path: Path, others: tuple[str, ...], words: str) -> None:
    put(tmp_path, "train/cat/a.jpg", "test/cat/a.jpg", *others)
    with pytest.raises(PhotoSourceError, match=words) as caught:
        read_photos(tmp_path)
    assert "move away what is not meant, or give label and split" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_split_beside_classes_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PhotoSourceError, match=r"\(Test\) beside other photos \(bus\)"):
        read_photos(put(tmp_path, "Test/cat/a.jpg", "Test/cover.jpg", "bus/b.jpg"))


def test_folders_without_photos_beside_splits_are_no_matter(tmp_path: Path) -> None:
    put(tmp_path, "train/cat/a.jpg", "test/cat/b.jpg", "docs/paper.pdf", "docs/.cache/x.jpg")
    photos = read_photos(tmp_path)
    assert photos.splits == ("test", "train")
    assert photos.classes == ("cat",)


def test_a_split_without_class_folders_is_an_error(tmp_path: Path) -> None:
    put(tmp_path, "train/cat/a.jpg", "test/b.jpg")
    with pytest.raises(PhotoSourceError, match=r"photos lie directly in .*test \(such as b.jpg\)"):
        read_photos(tmp_path)


# --- what cannot be read --------------------------------------------------------------------------------------------


def test_an_empty_class_folder_is_noted(tmp_path: Path) -> None:
    put(tmp_path, "cat/a.jpg", "dog/readme.txt")
    (tmp_path / "ant").mkdir()
    photos = read_photos(tmp_path)
    assert photos.classes == ("cat",)
    assert any("the folder ant, which holds no photos" in note for note in photos.notes)
    assert any("the folder dog, which holds no photos" in note for note in photos.notes)


def test_photos_beside_the_class_folders_are_noted(tmp_path: Path) -> None:
    photos = read_photos(put(tmp_path, "cat/a.jpg", "cover.jpg"))
    assert len(photos) == 1
    assert "left out 1 photos outside the class folders, such as cover.jpg" in photos.notes[0]


def test_photos_without_class_folders(tmp_path: Path) -> None:
    with pytest.raises(PhotoSourceError, match="put each class in its own folder, or give a manifest"):
        read_photos(put(tmp_path, "a.jpg", "b.jpg"))


@pytest.mark.parametrize("names", [(), ("cat/x.txt",), ("train/cat/x.txt", "test/cat/x.txt")])
def test_no_photos_at_all(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(PhotoSourceError, match="no photos in"):
        read_photos(put(tmp_path, *names))


def test_one_class_is_enough_to_read(tmp_path: Path) -> None:
    photos = read_photos(put(tmp_path, "cat/a.jpg"))
    with pytest.raises(PhotoSourceError, match="at least 2 classes"):
        photos.require_classes(2)


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "cat/a.jpg", "cat/locked/b.jpg")
    scandir = os.scandir

    def refuse(folder: Path) -> Iterator[os.DirEntry[str]]:
        if Path(folder).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PhotoSourceError, match="locked cannot be read: Permission denied"):
        read_photos(tmp_path)
