from pathlib import Path

import pytest

from manyeyes.errors import PhotoSourceError
from manyeyes.images import list_photos, read_photos


def put(root: Path, *names: str) -> None:
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def test_a_source_that_is_not_there() -> None:
    with pytest.raises(PhotoSourceError, match=r"nowhere cannot be read \(No such file or directory\)"):
        read_photos("nowhere")


def test_a_source_that_is_neither_folder_nor_manifest(tmp_path: Path) -> None:
    file = tmp_path / "photos.zip"
    file.touch()
    with pytest.raises(PhotoSourceError, match=r"photos.zip is neither a folder nor a manifest"):
        read_photos(file)


def test_files_as_given_and_folders_searched(tmp_path: Path) -> None:
    put(tmp_path, "b.jpg", "a.txt", "folder/z.jpg", "folder/in/y.png", "folder/notes.txt", "folder/.x.jpg")
    listed = list_photos([tmp_path / "b.jpg", tmp_path / "folder", str(tmp_path / "a.txt"), tmp_path / "missing.jpg"])
    assert [Path(path).relative_to(tmp_path).as_posix() for path in listed] == [
        "b.jpg",
        "folder/in/y.png",
        "folder/z.jpg",
        "a.txt",
        "missing.jpg",
    ]


def test_a_search_lists_each_file_once(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "in/b.jpg")
    (tmp_path / "in" / "link.jpg").symlink_to("b.jpg")
    (tmp_path / "in" / "other.jpg").symlink_to(tmp_path / "a.jpg")
    (tmp_path / "z").symlink_to("in")
    assert list_photos([tmp_path]) == [str(tmp_path / "a.jpg"), str(tmp_path / "in" / "b.jpg")]


def test_what_is_given_is_listed_as_often_as_it_is_given(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg")
    links = [tmp_path / name for name in ("one.jpg", "two.jpg")]
    for link in links:
        link.symlink_to("a.jpg")
    given = [str(path) for path in (tmp_path / "a.jpg", tmp_path / "a.jpg", *links)]
    assert list_photos(given) == given


def test_a_search_adds_only_what_is_not_listed_yet(tmp_path: Path) -> None:
    put(tmp_path, "folder/a.jpg", "folder/b.jpg")
    (tmp_path / "again").symlink_to("folder")
    folder = tmp_path / "folder"
    a, b = str(folder / "a.jpg"), str(folder / "b.jpg")
    assert list_photos([b, folder, tmp_path / "again", folder, a]) == [b, a, a]


def test_links_in_a_circle_come_to_an_end(tmp_path: Path) -> None:
    put(tmp_path, "a/b/x.jpg")
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to("self")
    assert list_photos([tmp_path]) == [str(tmp_path / "a" / "b" / "x.jpg")]


def test_no_sources_no_photos(tmp_path: Path) -> None:
    assert list_photos([]) == list_photos([tmp_path]) == []


def test_a_single_path_is_a_mistake_and_not_a_list_of_letters() -> None:
    with pytest.raises(TypeError, match=r"list_photos\(\['/'\]\)"):
        list_photos("/")
