"""A study's folder is written whole or not at all, and never over anything else."""

import json

import pytest

from manyeyes.errors import StudyError
from manyeyes.study.folder import FORMAT, RESULTS, VERSION, check_free, read_results, write_whole


def fill(text="first"):
    def write(folder):
        (folder / RESULTS).write_text(json.dumps({"format": FORMAT, "version": VERSION, "text": text}))

    return write


def test_a_study_is_written_and_replaced(tmp_path):
    write_whole(tmp_path / "study", fill())
    write_whole(tmp_path / "study", fill("second"))
    assert read_results(tmp_path / "study")["text"] == "second"
    assert read_results(tmp_path / "study" / RESULTS)["text"] == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["study"]


def test_an_empty_folder_is_free(tmp_path):
    (tmp_path / "study").mkdir()
    write_whole(tmp_path / "study", fill())
    assert read_results(tmp_path / "study")["text"] == "first"


def test_what_fails_leaves_the_older_study(tmp_path):
    def fail(folder):
        (folder / RESULTS).write_text("half")
        raise OSError(28, "no space left")

    write_whole(tmp_path / "study", fill())
    with pytest.raises(StudyError, match="cannot be written: no space left"):
        write_whole(tmp_path / "study", fail)
    assert read_results(tmp_path / "study")["text"] == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["study"]


@pytest.mark.parametrize("name", ["photo.jpg", RESULTS])
def test_other_peoples_files_are_left_alone(tmp_path, name):
    (tmp_path / name).write_text("{}")
    with pytest.raises(StudyError, match="holds other files than a manyeyes study"):
        check_free(tmp_path)
    assert (tmp_path / name).read_text() == "{}"


def test_a_file_is_no_place_for_a_study(tmp_path):
    (tmp_path / "file").touch()
    for place in ("file", "file/study"):
        with pytest.raises(StudyError, match="no study can be written"):
            check_free(tmp_path / place)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as a study's results"),
        ("[" * 100_000, "cannot be read as a study's results"),
        ("[]", "holds no results of a manyeyes study"),
        ('{"format": "other"}', "holds no results of a manyeyes study"),
        (json.dumps({"format": FORMAT, "version": VERSION + 1}), "is of version 2"),
    ],
)
def test_what_is_no_study_is_told(tmp_path, text, message):
    (tmp_path / RESULTS).write_text(text)
    with pytest.raises(StudyError, match=message):
        read_results(tmp_path)
    with pytest.raises(StudyError):
        read_results(tmp_path / "none")
