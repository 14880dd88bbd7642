"""Labels that files' names say."""

import pytest

from manyeyes.adapt.tasks.labels import read_labelled
from manyeyes.errors import PhotoSourceError

FACES = ["100_0_0_20170112213500903.jpg.chip.jpg", "26_1_3_20170104.jpg", "1_0_4_2017.jpg"]
# Of the published set: one says no race, another no gender.
STRANGE = ["61_1_20170109142408075.jpg.chip.jpg", "39_1_20170116174525125.jpg.chip.jpg"]


def touched(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_ages_and_genders_of_utkface_and_what_is_called_otherwise_is_noted(tmp_path):
    folder = touched(tmp_path / "UTKFace", *FACES, *STRANGE, "Thumbs.db", ".hidden_1_1_1_1.jpg", "notes.txt")
    ages = read_labelled("age", str(folder))
    assert dict(zip(ages.paths, ages.labels, strict=True)) == {
        str(folder / name): age for name, age in zip(FACES, ("100", "26", "1"), strict=True)
    }
    (note,) = ages.notes
    assert note.endswith(f"left out 2 whose names do not say their labels: {', '.join(sorted(STRANGE))}")
    genders = read_labelled("gender", str(folder))
    assert genders.labels == ("male", "male", "female")
    assert genders.classes == ("female", "male")
    with pytest.raises(PhotoSourceError, match="photos lie directly in"):
        read_labelled("classification", str(folder))


def test_class_folders_serve_every_task(tmp_path):
    for name in ("21-30", "31-40"):
        touched(tmp_path / name, "1.jpg")
    for task in ("age", "gender", "re-identification", "classification"):
        assert read_labelled(task, str(tmp_path)).labels == ("21-30", "31-40")


@pytest.fixture
def market(tmp_path):
    touched(tmp_path / "bounding_box_train", "0002_c1s1_000451_03.jpg", "0007_c2s3_070952_01.jpg", "Thumbs.db")
    touched(tmp_path / "query", "0001_c3s1_000151_00.jpg", "odd.jpg")
    touched(tmp_path / "bounding_box_test", "-1_c1s1_000401_03.jpg", "0000_c1s1_000151_01.jpg", "Thumbs.db")
    touched(tmp_path / "bounding_box_test", "0001_c6s1_000151_01.jpg")
    touched(tmp_path / "gt_bbox", "0001_c1s1_001051_00.jpg")
    return tmp_path


def test_identities_cameras_and_splits_of_market(market):
    found = read_labelled("re-identification", str(market))
    rows = list(zip(found.labels, found.cameras, found.splits, strict=True))
    assert rows == [
        ("0002", "1", "train"),
        ("0007", "2", "train"),
        ("0001", "3", "query"),
        ("-1", "1", "gallery"),
        ("0000", "1", "gallery"),
        ("0001", "6", "gallery"),
    ]
    assert [path.rpartition("/")[2] for path in found.paths[:2]] == [
        "0002_c1s1_000451_03.jpg",
        "0007_c2s3_070952_01.jpg",
    ]
    assert found.select([2, 5]).cameras == ("3", "6")
    assert found.notes == (f"{market / 'query'}: left out 1 whose names do not say their labels: odd.jpg",)


@pytest.mark.parametrize("part", ["query", "bounding_box_test"])
def test_half_of_market_is_none(market, part):
    for path in (market / part).iterdir():
        path.unlink()
    with pytest.raises(PhotoSourceError, match=f"no photos in .*{part} are called like Market-1501's"):
        read_labelled("re-identification", str(market))
    (market / part).rmdir()
    with pytest.raises(PhotoSourceError, match=f"{part} cannot be read: No such file"):
        read_labelled("re-identification", str(market))
