import csv
import os
from pathlib import Path

import pytest

from manyeyes.errors import TooManyRejectedError
from manyeyes.images import Reason, Rejected, check_rejected, write_rejected


def rejected(*paths: str, reason: Reason = Reason.DAMAGED) -> list[Rejected]:
    return [Rejected(path, reason, "words, of the decoder") for path in paths]


def rows(file: Path) -> list[list[str]]:
    with file.open(encoding="utf-8", newline="") as text:
        return list(csv.reader(text))


def test_the_list_can_be_read_back(tmp_path: Path) -> None:
    file = tmp_path / "rejected.csv"
    write_rejected(file, rejected("a.jpg", 'say "hi", кот\nnew line.jpg'))
    assert rows(file) == [
        ["path", "reason", "detail"],
        ["a.jpg", "damaged", "words, of the decoder"],
        ['say "hi", кот\nnew line.jpg', "damaged", "words, of the decoder"],
    ]


def test_an_empty_list_is_a_header(tmp_path: Path) -> None:
    write_rejected(tmp_path / "rejected.csv", [])
    assert rows(tmp_path / "rejected.csv") == [["path", "reason", "detail"]]


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    write_rejected(tmp_path / "rejected.csv", rejected(os.fsdecode(b"caf\xe9.jpg")))
    assert rows(tmp_path / "rejected.csv")[1][0] == r"caf\udce9.jpg"


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
def test_no_name_becomes_a_formula(tmp_path: Path, first: str) -> None:
    path = f'{first}HYPERLINK("http://x").jpg'
    write_rejected(tmp_path / "rejected.csv", [Rejected(path, Reason.MISSING, path)])
    assert rows(tmp_path / "rejected.csv")[1] == [f"'{path}", "missing", f"'{path}"]


def test_whoever_reads_the_old_list_keeps_it_whole(tmp_path: Path) -> None:
    file = tmp_path / "rejected.csv"
    write_rejected(file, rejected("old.jpg"))
    with file.open() as reader:
        write_rejected(file, rejected("new.jpg"))
        assert "old.jpg" in reader.read()
    assert rows(file)[1][0] == "new.jpg"


def test_a_failed_write_leaves_the_old_list_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "rejected.csv"
    write_rejected(file, rejected("old.jpg"))
    with pytest.raises(AttributeError):
        write_rejected(file, [*rejected("new.jpg"), None])  # type: ignore[list-item]
    assert rows(file)[1][0] == "old.jpg"
    assert list(tmp_path.iterdir()) == [file]


def test_few_rejected_are_no_error() -> None:
    check_rejected([], 0)
    check_rejected(rejected("a"), 5)
    check_rejected(rejected("a"), 1, limit=1.0)


def test_too_many_rejected_are_counted_by_reason_and_the_first_named() -> None:
    many = rejected("a", "b\nc") + rejected("d", "e", "f", reason=Reason.MISSING)
    with pytest.raises(TooManyRejectedError) as caught:
        check_rejected(many, 24)
    message = str(caught.value)
    assert "5 of 24 photos cannot be used, more than 20%: 3 missing, 2 damaged;" in message
    assert r"b\nc: damaged" in message and "d: missing" in message and "e: missing" not in message
    assert "\n" not in message


def test_a_single_rejected_photo_may_be_too_many() -> None:
    with pytest.raises(TooManyRejectedError):
        check_rejected(rejected("a"), 4)
