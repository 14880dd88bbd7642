from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from manyeyes.errors import PhotoSourceError
from manyeyes.images import read_photos


def manifest(tmp_path: Path, text: str, name: str = "photos.csv", encoding: str = "utf-8") -> Path:
    file = tmp_path / name
    file.write_text(text, encoding=encoding)
    return file


def test_paths_start_from_the_folder_of_the_manifest(tmp_path: Path) -> None:
    photos = read_photos(manifest(tmp_path, "path,label\nin/a.jpg,cat\n/abs/b.jpg,dog\n"))
    assert photos.paths == (str(tmp_path / "in" / "a.jpg"), "/abs/b.jpg")
    assert photos.labels == ("cat", "dog")
    assert photos.splits is photos.groups is None
    assert photos.notes == ()


def test_splits_and_groups(tmp_path: Path) -> None:
    text = "Label,GROUP,Path, Split ,other\ncat,7,a.jpg,Valid,x\ndog,07,b.jpg,fold 3,y\ndog,8,c.jpg,TRAIN,z\n"
    photos = read_photos(manifest(tmp_path, text))
    assert photos.labels == ("cat", "dog", "dog")
    assert photos.groups == ("7", "07", "8")
    assert photos.splits == ("val", "fold 3", "train")


@pytest.mark.parametrize(
    "labels", [["01", "1"], ["NA", "null"], ["true", "false"], ["1.0", "1e0"], ["2020-01-01", "nan"]]
)
@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_labels_are_text_as_written(tmp_path: Path, labels: list[str], kind: str) -> None:
    file = tmp_path / f"photos.{kind}"
    if kind == "parquet":
        parquet.write_table(pa.table({"path": ["a.jpg", "b.jpg"], "label": labels}), file)
    else:
        comma = "," if kind == "csv" else "\t"
        file.write_text(f"path{comma}label\na.jpg{comma}{labels[0]}\nb.jpg{comma}{labels[1]}\n")
    assert read_photos(file).labels == tuple(labels)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_byte_order_mark_line_ends_and_names_of_all_kinds(tmp_path: Path, encoding: str, end: str) -> None:
    file = tmp_path / "photos.csv"
    lines = ["path,label", '"a, b.jpg",кот', '"new\nline.jpg",猫', '"say ""hi"".jpg", dog ', ""]
    file.write_bytes(end.join(lines).encode(encoding))
    photos = read_photos(file)
    assert [Path(path).name for path in photos.paths] == ["a, b.jpg", "new\nline.jpg", 'say "hi".jpg']
    assert photos.labels == ("кот", "猫", "dog")


def test_labels_stay_text_in_a_long_file(tmp_path: Path) -> None:
    # Longer than the blocks in which it is read, with line ends in the names wherever a block may end.
    newlines = "x\n" * 50
    rows = "".join(f'"{newlines}{number}.jpg",{number:06}\n' for number in range(30_000))
    photos = read_photos(manifest(tmp_path, f"path,label\n{rows}last.jpg,NA\n"))
    assert photos.labels[29_999:] == ("029999", "NA")


def test_parquet_labels_of_other_types(tmp_path: Path) -> None:
    columns = {
        "path": pa.array(["a.jpg", "b.jpg"], pa.large_string()),
        "label": pa.array(["cat", "dog"]).dictionary_encode(),
        "group": pa.array([1, 2]),
        "image": pa.array([b"\xff", b"\xfe"]),
    }
    folder = tmp_path / "split=train"  # no column, only a folder's name
    folder.mkdir()
    parquet.write_table(pa.table(columns), folder / "photos.parquet")
    photos = read_photos(folder / "photos.parquet")
    assert photos.labels == ("cat", "dog")
    assert photos.groups == ("1", "2")
    assert photos.splits is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "photos.csv cannot be read: Empty CSV file"),
        ("path,label\n", "names no photos"),
        ("path,class\na.jpg,cat\n", "has no column label: its columns are path, class"),
        ("file,label\na.jpg,cat\n", "has no column path: its columns are file, label"),
        ("path,label,Path\na.jpg,cat,b.jpg\n", "two columns called path"),
        ("path,label\na.jpg,cat\nb.jpg,\n", "row 3 of .* has an empty label"),
        ("path,label\na.jpg,cat\n  ,dog\n", "row 3 of .* has an empty path"),
        ("path,label,split\na.jpg,cat,train\nb.jpg,dog,\n", "row 3 of .* has an empty split"),
        ("path,label\na.jpg,cat\nb.jpg,dog,brown\n", "photos.csv cannot be read: .*b.jpg,dog,brown"),
        (
            "path,label\na.jpg,cat\nb.jpg,dog\na.jpg,dog\n",
            "rows 2 and 4 .* two different values of label, 'cat' and 'dog'",
        ),
        ("path,label\na.jpg,cat\n./x/../a.jpg,dog\n", "rows 2 and 3"),
        ("path,label,split\na.jpg,cat,train\na.jpg,cat,test\n", "two different values of split, 'train' and 'test'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(PhotoSourceError, match=words) as caught:
        read_photos(manifest(tmp_path, text))
    assert "photos.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_group_in_two_splits_is_an_error(tmp_path: Path) -> None:
    text = "path,label,split,group\na.jpg,cat,train,7\nb.jpg,cat,training,7\nc.jpg,cat,test,7\n"
    with pytest.raises(
        PhotoSourceError, match=r"group '7' lies in two splits, 'train' \(.*a.jpg\) and 'test' \(.*c.jpg"
    ):
        read_photos(manifest(tmp_path, text))


def test_a_manifest_that_is_not_utf8(tmp_path: Path) -> None:
    with pytest.raises(PhotoSourceError, match=r"photos.csv cannot be read: .*UTF8"):
        read_photos(manifest(tmp_path, "path,label\ncafé.jpg,café\n", encoding="latin-1"))


def test_broken_parquet(tmp_path: Path) -> None:
    with pytest.raises(PhotoSourceError, match=r"photos.parquet cannot be read"):
        read_photos(manifest(tmp_path, "no parquet", name="photos.parquet"))


def test_parquet_rows_are_counted_from_one_and_null_is_empty(tmp_path: Path) -> None:
    file = tmp_path / "photos.parquet"
    parquet.write_table(pa.table({"path": ["a.jpg", "b.jpg"], "label": ["cat", None]}), file)
    with pytest.raises(PhotoSourceError, match=r"row 2 of .* has an empty label"):
        read_photos(file)


def test_a_column_that_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "photos.parquet"
    parquet.write_table(pa.table({"path": ["a.jpg"], "label": [["cat", "dog"]]}), file)
    with pytest.raises(PhotoSourceError, match=r"the column label of .* is not text but list"):
        read_photos(file)


def test_a_repeated_row_is_kept_once(tmp_path: Path) -> None:
    photos = read_photos(manifest(tmp_path, "path,label\na.jpg,cat\nb.jpg,dog\n./a.jpg,cat\na.jpg,cat\n"))
    assert [Path(path).name for path in photos.paths] == ["a.jpg", "b.jpg"]
    assert len(photos.notes) == 1 and "2 rows repeat an earlier one" in photos.notes[0]
