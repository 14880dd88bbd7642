"""Published datasets, in miniature: each in its authors' own layout, with real if tiny photos."""

import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from manyeyes.errors import PhotoSourceError, UnknownNameError
from manyeyes.images import DATASETS, Rejected, open_photo, read_dataset

TABLE_1 = {
    "actions40": (9532, 40),
    "caltech101": (9146, 101),
    "caltech256": (30607, 256),
    "cub200": (11788, 200),
    "flowers17": (1360, 17),
    "flowers102": (8189, 102),
    "pets": (7390, 37),
}
DOCS = Path(__file__).parents[2] / "docs" / "datasets.md"


def jpeg() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (16, 12), (200, 30, 60)).save(buffer, "JPEG")
    return buffer.getvalue()


JPEG = jpeg()


def put(root: Path, *photos: str) -> Path:
    for photo in photos:
        (root / photo).parent.mkdir(parents=True, exist_ok=True)
        (root / photo).write_bytes(JPEG)
    return root


def write(file: Path, *rows: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")


def flowers17(root: Path) -> Path:
    put(root, *(f"jpg/image_{number:04}.jpg" for number in (1, 80, 81, 1360)))
    write(root / "jpg" / "files.txt", "image_0001.jpg")
    savemat(root / "datasplits.mat", {"trn1": [[1.0, 1360]], "val1": [[81.0]], "tst1": [[80.0]], "trn2": [[80.0]]})
    return root


def flowers102(root: Path) -> Path:
    put(root, *(f"jpg/image_{number:05}.jpg" for number in (1, 2, 3, 4)))
    savemat(root / "imagelabels.mat", {"labels": np.array([[77, 1, 102, 2]], np.uint8)})
    savemat(root / "setid.mat", {"trnid": [[1, 2]], "valid": [[3]], "tstid": [[4]]})
    return root


def caltech101(root: Path) -> Path:
    folder = root / "101_ObjectCategories"
    put(folder, "BACKGROUND_Google/image_0001.jpg", "crab/image_0001.jpg", "crab/image_0002.jpg")
    put(folder, "water_lilly/image_0001.jpg")
    write(folder / "BACKGROUND_Google" / "tmp", "what the archive forgot")
    return root


def caltech256(root: Path) -> Path:
    folder = root / "256_ObjectCategories"
    put(folder, "001.ak47/001_0001.jpg", "002.american-flag/002_0001.jpg", "257.clutter/257_0001.jpg")
    return root


def cub200(root: Path) -> Path:
    folder = root / "CUB_200_2011"
    names = ("001.Black_footed_Albatross/a 1.jpg", "002.Laysan_Albatross/b.jpg", "001.Black_footed_Albatross/c.jpg")
    put(folder, *(f"images/{name}" for name in names))
    write(folder / "images.txt", *(f"{number} {name}" for number, name in enumerate(names, 1)))
    write(folder / "classes.txt", "1 001.Black_footed_Albatross", "2 002.Laysan_Albatross")
    write(folder / "image_class_labels.txt", "1 1", "2 2", "3 1")
    write(folder / "train_test_split.txt", "1 0", "2 1", "3 1")
    return root


def pets(root: Path) -> Path:
    put(root, "images/Abyssinian_1.jpg", "images/Abyssinian_34.jpg", "images/great_pyrenees_7.jpg")
    put(root, "images/._Abyssinian_1.jpg")
    (root / "images" / "Abyssinian_1.mat").write_bytes(b"")
    comments = "#Image CLASS-ID SPECIES BREED ID", "#ID: 1:37 Class ids"
    write(root / "annotations" / "list.txt", *comments, "Abyssinian_1 1 1 1", "great_pyrenees_7 16 2 10")
    write(root / "annotations" / "trainval.txt", "Abyssinian_1 1 1 1")
    write(root / "annotations" / "test.txt", "great_pyrenees_7 16 2 10")
    return root


def actions40(root: Path) -> Path:
    put(root, *(f"JPEGImages/{name}_00{number}.jpg" for name in ("riding_a_bike", "jumping") for number in (1, 2)))
    splits = root / "ImageSplits"
    write(splits / "actions.txt", "action_name\tnumber of train", "riding_a_bike\t\t1", "jumping\t1")
    for name in ("riding_a_bike", "jumping"):
        write(splits / f"{name}_train.txt", f"{name}_002.jpg")
        write(splits / f"{name}_test.txt", f"{name}_001.jpg")
    return root


Made = tuple[Callable[[Path], Path], str, dict[str, tuple[str, str]]]
# How it is made, where its photos lie, and of each photo the class and the authors' split.
MADE: dict[str, Made] = {
    "flowers17": (
        flowers17,
        "jpg",
        {
            "image_0001.jpg": ("daffodil", "train"),
            "image_0080.jpg": ("daffodil", "test"),
            "image_0081.jpg": ("snowdrop", "val"),
            "image_1360.jpg": ("pansy", "train"),
        },
    ),
    "flowers102": (
        flowers102,
        "jpg",
        {
            "image_00001.jpg": ("passion flower", "train"),
            "image_00002.jpg": ("pink primrose", "train"),
            "image_00003.jpg": ("blackberry lily", "val"),
            "image_00004.jpg": ("hard-leaved pocket orchid", "test"),
        },
    ),
    "caltech101": (
        caltech101,
        "101_ObjectCategories",
        {
            "crab/image_0001.jpg": ("crab", ""),
            "crab/image_0002.jpg": ("crab", ""),
            "water_lilly/image_0001.jpg": ("water_lilly", ""),
        },
    ),
    "caltech256": (
        caltech256,
        "256_ObjectCategories",
        {
            "001.ak47/001_0001.jpg": ("ak47", ""),
            "002.american-flag/002_0001.jpg": ("american-flag", ""),
        },
    ),
    "cub200": (
        cub200,
        "CUB_200_2011/images",
        {
            "001.Black_footed_Albatross/a 1.jpg": ("Black_footed_Albatross", "test"),
            "002.Laysan_Albatross/b.jpg": ("Laysan_Albatross", "train"),
            "001.Black_footed_Albatross/c.jpg": ("Black_footed_Albatross", "train"),
        },
    ),
    "pets": (
        pets,
        "images",
        {
            "Abyssinian_1.jpg": ("Abyssinian", "train"),
            "Abyssinian_34.jpg": ("Abyssinian", ""),
            "great_pyrenees_7.jpg": ("great_pyrenees", "test"),
        },
    ),
    "actions40": (
        actions40,
        "JPEGImages",
        {
            "jumping_001.jpg": ("jumping", "test"),
            "jumping_002.jpg": ("jumping", "train"),
            "riding_a_bike_001.jpg": ("riding_a_bike", "test"),
            "riding_a_bike_002.jpg": ("riding_a_bike", "train"),
        },
    ),
}
WITH_SPLIT = [name for name in MADE if not name.startswith("caltech")]
by_name = pytest.mark.parametrize("name", MADE)


def test_the_records_are_table_1() -> None:
    assert {name: (DATASETS[name].images, DATASETS[name].classes) for name in DATASETS.names()} == TABLE_1
    assert all(DATASETS[name].name == name for name in TABLE_1)


def test_the_document_says_what_the_records_say() -> None:
    rows = [line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    for name, row in zip(DATASETS.names(), rows, strict=True):
        record = DATASETS[name]
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        counts = [f"{record.images:,}", f"{record.classes}"]
        assert cells[:3] == [f"`{name}`", *counts]
        assert all(f"`{mark}`" in cells[3] for mark in record.marks)
        assert cells[4].startswith(f"[{record.title}]({record.address})")
        assert all(f"`{file.split()[0]}`" in cells[4] for file in record.files)
        assert cells[5] == record.terms


@by_name
def test_labels_in_the_authors_layout(name: str, tmp_path: Path) -> None:
    make, folder, expected = MADE[name]
    photos = read_dataset(name, make(tmp_path))
    found = {
        Path(path).relative_to(tmp_path / folder).as_posix(): label
        for path, label in zip(photos.paths, photos.labels, strict=True)
    }
    assert found == {photo: label for photo, (label, _) in expected.items()}
    assert photos.splits is None
    assert photos.groups is None
    assert not any(isinstance(open_photo(path), Rejected) for path in photos.paths)


@by_name
def test_the_root_may_be_the_folder_above_or_that_of_the_photos(name: str, tmp_path: Path) -> None:
    make, folder, _ = MADE[name]
    make(tmp_path / "shelf" / "unpacked")
    (tmp_path / "shelf" / "another" / "photos").mkdir(parents=True)
    photos = read_dataset(name, tmp_path / "shelf" / "unpacked")
    # CUB's own top folder is another level between.
    above = "shelf/unpacked" if name == "cub200" else "shelf"
    assert read_dataset(name, str(tmp_path / above)) == photos
    assert read_dataset(name, tmp_path / "shelf" / "unpacked" / folder).labels == photos.labels


@pytest.mark.parametrize("name", WITH_SPLIT)
def test_the_authors_split_when_asked_for(name: str, tmp_path: Path) -> None:
    make, folder, expected = MADE[name]
    photos = read_dataset(name, make(tmp_path), official_split=True)
    assert photos.splits is not None
    found = {
        Path(path).relative_to(tmp_path / folder).as_posix(): split
        for path, split in zip(photos.paths, photos.splits, strict=True)
    }
    assert found == {photo: split for photo, (_, split) in expected.items() if split}


@pytest.mark.parametrize("name", ["caltech101", "caltech256"])
def test_there_is_no_split_where_the_authors_publish_none(name: str, tmp_path: Path) -> None:
    with pytest.raises(PhotoSourceError, match=r"the authors of Caltech \d+ publish no split into train and test"):
        read_dataset(name, MADE[name][0](tmp_path), official_split=True)


def test_photos_outside_of_the_authors_split_are_told_of(tmp_path: Path) -> None:
    photos = read_dataset("pets", pets(tmp_path), official_split=True)
    assert len(photos) == 2
    assert "left out 1 photos that are in none of the authors' splits: Abyssinian_34.jpg" in photos.notes


def test_a_split_file_that_is_not_there(tmp_path: Path) -> None:
    (flowers17(tmp_path) / "datasplits.mat").unlink()
    assert len(read_dataset("flowers17", tmp_path)) == 4
    with pytest.raises(PhotoSourceError, match=r"datasplits.mat cannot be read: No such file or directory"):
        read_dataset("flowers17", tmp_path, official_split=True)


def test_a_whole_dataset_is_counted_as_whole(tmp_path: Path) -> None:
    put(tmp_path, *(f"jpg/image_{number:04}.jpg" for number in range(1, 1361)))
    photos = read_dataset("flowers17", tmp_path)
    assert photos.notes == ("1,360 photos of 17 classes are all of flowers17: the paper's Table 1 counts 1,360 of 17",)
    assert set(photos.counts.values()) == {80}


def test_a_part_of_a_dataset_is_read_and_counted(tmp_path: Path) -> None:
    counted, missing = read_dataset("flowers17", flowers17(tmp_path)).notes
    assert counted == "4 photos of 3 classes are not all of flowers17: the paper's Table 1 counts 1,360 of 17"
    assert missing == (
        "1,356 photos are missing: jpg/image_0002.jpg, jpg/image_0003.jpg, jpg/image_0004.jpg and 1,353 more"
    )


def test_a_background_that_table_1_counts_is_no_class(tmp_path: Path) -> None:
    photos = read_dataset("caltech101", caltech101(tmp_path))
    assert photos.notes[:2] == (
        "3 photos of 2 classes are not all of caltech101: "
        "the paper's Table 1 counts 9,146 of 101, with BACKGROUND_Google, which is no class",
        "left out 1 photos of BACKGROUND_Google, which is no class",
    )


def test_caltech_is_whole_without_its_background(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from manyeyes.images.datasets import caltech

    monkeypatch.setattr(caltech, "CALTECH101", replace(caltech.CALTECH101, images=4, classes=2, images_without_it=3))
    note = read_dataset("caltech101", caltech101(tmp_path)).notes[0]
    assert note.startswith("3 photos of 2 classes are all of caltech101: the paper's Table 1 counts 4 of 2")


def test_photos_that_pets_own_list_lacks(tmp_path: Path) -> None:
    assert read_dataset("pets", pets(tmp_path)).notes[1] == (
        "annotations/list.txt names 2 photos and not the 1 others, such as Abyssinian_34; "
        "their breeds are known by their names all the same"
    )


def test_listed_photos_that_are_missing(tmp_path: Path) -> None:
    cub200(tmp_path)
    (tmp_path / "CUB_200_2011" / "images" / "002.Laysan_Albatross" / "b.jpg").unlink()
    photos = read_dataset("cub200", tmp_path)
    assert photos.classes == ("Black_footed_Albatross",)
    assert "1 photos are missing: images/002.Laysan_Albatross/b.jpg" in photos.notes


def test_none_of_the_listed_photos_is_there(tmp_path: Path) -> None:
    for photo in (actions40(tmp_path) / "JPEGImages").iterdir():
        photo.unlink()
    with pytest.raises(PhotoSourceError, match=r"none of the 4 photos of actions40 .*Stanford40_JPEGImages.zip"):
        read_dataset("actions40", tmp_path)


@by_name
def test_a_copy_in_class_folders(name: str, tmp_path: Path) -> None:
    put(tmp_path, "001.big cat/x.jpg", "001.big cat/y.jpg", "dog/a b.jpg")
    record = DATASETS[name]
    if record.background:
        put(tmp_path, f"{record.background}/z.jpg")
    photos = read_dataset(name, tmp_path)
    assert photos.labels == ("big cat", "big cat", "dog")
    assert photos.notes[0].startswith(f"3 photos of 2 classes are not all of {name}: ")
    with pytest.raises(PhotoSourceError, match=r"class folders, which do not tell the authors' split|publish no split"):
        read_dataset(name, tmp_path, official_split=True)


def test_a_copy_in_split_and_class_folders_has_no_splits(tmp_path: Path) -> None:
    put(tmp_path, "train/iris/x.jpg", "test/iris/y.jpg", "train/daisy/x.jpg")
    photos = read_dataset("flowers17", tmp_path)
    assert photos.splits is None
    assert sorted(photos.labels) == ["daisy", "iris", "iris"]


def test_class_folders_that_must_be_another_datasets(tmp_path: Path) -> None:
    put(tmp_path, *(f"class {number}/x.jpg" for number in range(18)))
    with pytest.raises(PhotoSourceError, match="it holds 18 class folders, and flowers17 has 17"):
        read_dataset("flowers17", tmp_path)


@by_name
def test_a_dataset_that_is_not_there(name: str, tmp_path: Path) -> None:
    record = DATASETS[name]
    with pytest.raises(PhotoSourceError) as caught:
        read_dataset(name, tmp_path)
    said = str(caught.value)
    assert said.startswith(f"{name} is not in {tmp_path}: looked for ")
    for part in (*record.marks, record.title, record.publisher, record.address, *record.files):
        assert part in said
    assert "\n" not in said


@by_name
def test_another_dataset_is_not_taken_for_it(name: str, tmp_path: Path) -> None:
    for other, (make, _, _) in MADE.items():
        if other != name:
            make(tmp_path / "shelf" / other)
    with pytest.raises(PhotoSourceError, match=f"^{name} is not in"):
        read_dataset(name, tmp_path / "shelf")


def test_a_shelf_of_class_folders_is_no_dataset(tmp_path: Path) -> None:
    put(tmp_path, "birds/crow/x.jpg", "birds/owl/x.jpg", "cats/tabby/x.jpg")
    with pytest.raises(PhotoSourceError, match="flowers17 is not in"):
        read_dataset("flowers17", tmp_path)


def test_a_half_unpacked_dataset(tmp_path: Path) -> None:
    (flowers102(tmp_path) / "imagelabels.mat").unlink()
    with pytest.raises(PhotoSourceError, match=re.escape("and found only jpg/image_?????.jpg; unpack 102flowers.tgz")):
        read_dataset("flowers102", tmp_path)


def test_a_root_that_is_not_there_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, why in {"nowhere": "No such file", "file": "Not a directory"}.items():
        with pytest.raises(PhotoSourceError, match=f"the folder cannot be read \\({why}.*unpack images.tar.gz"):
            read_dataset("pets", tmp_path / name)


def test_an_unknown_name() -> None:
    with pytest.raises(UnknownNameError, match="'imagenet' is not one of the datasets: choose from actions40, "):
        read_dataset("imagenet", ".")


BROKEN_TEXT = {
    "no value": ("cub200", "CUB_200_2011/images.txt", b"1\n", "'1' has no value"),
    "twice": ("cub200", "CUB_200_2011/images.txt", b"1 a.jpg\n1 b.jpg\n", "'1' comes twice"),
    "outside": ("cub200", "CUB_200_2011/images.txt", b"1 ../../../etc/passwd\n", "outside of the dataset"),
    "absolute": ("actions40", "ImageSplits/jumping_train.txt", b"../../x.jpg\n", "outside of the dataset"),
    "an action outside": ("actions40", "ImageSplits/actions.txt", b"../x\t1\n", "outside of the dataset"),
    "an unknown class": ("cub200", "CUB_200_2011/image_class_labels.txt", b"1 1\n2 3\n3 1\n", "says 3 of photo 2"),
    "an unlabelled photo": ("cub200", "CUB_200_2011/image_class_labels.txt", b"1 1\n", "of photo 2, which means"),
    "not text": ("pets", "annotations/list.txt", b"\xff\xfe\x00", "is not text in UTF-8"),
    "one breed, two classes": ("pets", "annotations/list.txt", b"cat_1 1 1 1\ncat_2 2 1 1\n", "contradicts another"),
    "one class, two breeds": ("pets", "annotations/list.txt", b"cat_1 1 1 1\ndog_2 1 1 1\n", "contradicts another"),
    "two actions": ("actions40", "ImageSplits/jumping_test.txt", b"riding_a_bike_001.jpg\n", "shows riding_a_bike too"),
    "huge": ("pets", "annotations/list.txt", b"#" * 10_000_001, r"too large for a label file \(10,000,001 bytes\)"),
}


@pytest.mark.parametrize("case", BROKEN_TEXT)
def test_broken_and_hostile_text_files(case: str, tmp_path: Path) -> None:
    name, file, content, said = BROKEN_TEXT[case]
    MADE[name][0](tmp_path)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(PhotoSourceError, match=f"{Path(file).name} .*{said}|{said}"):
        read_dataset(name, tmp_path)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        ([[1.5, 2]], "the array labels of .*imagelabels.mat holds other than whole numbers"),
        ([[np.nan]], "the array labels of .*imagelabels.mat holds other than whole numbers"),
        ([[np.inf]], "the array labels of .*imagelabels.mat holds other than whole numbers"),
        ([[0, 1]], "imagelabels.mat holds labels that are not 1 to 102"),
        ([[103]], "imagelabels.mat holds labels that are not 1 to 102"),
        (np.empty((0, 0)), "imagelabels.mat holds labels that are not 1 to 102"),
        (["text"], "imagelabels.mat cannot be read, because it holds no array labels of real numbers"),
    ],
    ids=str,
)
def test_matlab_files_that_hold_no_labels(array: object, said: str, tmp_path: Path) -> None:
    savemat(flowers102(tmp_path) / "imagelabels.mat", {"labels": array})
    with pytest.raises(PhotoSourceError, match=said):
        read_dataset("flowers102", tmp_path)


def test_a_photo_in_two_splits(tmp_path: Path) -> None:
    savemat(flowers102(tmp_path) / "setid.mat", {"trnid": [[1, 2]], "valid": [[2]], "tstid": [[4]]})
    with pytest.raises(PhotoSourceError, match=r"setid.mat puts photo 2 into two splits"):
        read_dataset("flowers102", tmp_path, official_split=True)


@settings(max_examples=30, deadline=None)
@given(numbers=st.sets(st.integers(1, 1360), min_size=1, max_size=12))
def test_whichever_flowers_are_there(numbers: set[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    root = put(tmp_path_factory.mktemp("flowers"), *(f"jpg/image_{number:04}.jpg" for number in numbers))
    photos = read_dataset("flowers17", root)
    assert [int(Path(path).stem[-4:]) for path in photos.paths] == sorted(numbers)
    blocks = [(number - 1) // 80 for number in sorted(numbers)]
    assert len(photos.classes) == len(set(blocks))
    assert len(set(zip(blocks, photos.labels, strict=True))) == len(photos.classes)
