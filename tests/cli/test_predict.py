"""``manyeyes predict``: one outcome for each photo, in every form, and why."""

import csv
import io
import json
import os
import shutil
import subprocess

import pytest

from manyeyes import ManyEyesClassifier

from .conftest import PROGRAM


@pytest.fixture
def some(world, tmp_path):
    """Two photos of different classes with a broken and a missing file around them."""
    (tmp_path / "broken.jpg").write_text("no photo")
    return [world.paths[0], tmp_path / "broken.jpg", world.paths[30], tmp_path / "missing.png"]


def test_the_table_has_a_row_for_each_photo_in_order(run, trained, some):
    done = run("predict", trained, *some)
    assert done.status == 0
    assert done.err == ""
    head, apple, broken, sea, missing = (line.split() for line in done.out.splitlines() if line.strip())
    assert head == ["photo", "class", "probability"]
    assert (apple[-2], sea[-2]) == ("apple", "sea")
    assert broken[-5:] == ["not", "read:", "not", "an", "image"]
    assert missing[-3:] == ["not", "read:", "missing"]


def test_explain_shows_each_backbones_vote_and_weight(run, trained, some):
    lines = run("predict", trained, "--explain", *some).out.splitlines()
    assert [line.count("%") for line in lines].count(1) == 4
    for name in ("tint", "edges"):
        assert sum(f"%  {name} " in line for line in lines) == 2


def test_json_holds_everything(run, trained, some):
    done = run("predict", trained, "--json", "--explain", *some)
    apple, broken, sea, missing = json.loads(done.out)
    expected = ManyEyesClassifier.load(trained).predict_proba([str(some[0]), str(some[2])])
    for record, label, path, row in ((apple, "apple", some[0], expected[0]), (sea, "sea", some[2], expected[1])):
        assert (record["path"], record["label"]) == (str(path), label)
        assert list(record["probabilities"]) == ["apple", "leaf", "sea"]
        assert list(record["probabilities"].values()) == pytest.approx(row.tolist(), abs=1e-6)
        assert record["probability"] == record["probabilities"][label]
        assert sum(vote["weight"] for vote in record["votes"]) == pytest.approx(1, abs=1e-6)
        assert [vote["backbone"] for vote in record["votes"]] == ["tint", "edges"]
    assert (broken["path"], broken["reason"]) == (str(some[1]), "not an image")
    assert (missing["path"], missing["reason"]) == (str(some[3]), "missing")
    assert "votes" not in json.loads(run("predict", trained, "--json", some[0]).out)[0]


@pytest.mark.parametrize("explain", [False, True])
def test_csv_is_a_regular_table(run, trained, some, explain):
    done = run("predict", trained, "--csv", *(["--explain"] if explain else []), *some)
    assert "\r" not in done.out
    rows = list(csv.reader(io.StringIO(done.out)))
    assert {len(row) for row in rows} == {11 if explain else 5}
    head, apple, broken, sea, missing = (dict(zip(rows[0], row, strict=True)) for row in rows)
    assert list(head)[:5] == ["path", "label", "probability", "rejected", "lost"]
    assert (apple["label"], apple["rejected"], sea["label"]) == ("apple", "", "sea")
    assert broken["rejected"].startswith("not an image: ")
    assert (missing["label"], missing["rejected"]) == ("", "missing: no such file")
    if explain:
        assert float(sea["tint weight"]) + float(sea["edges weight"]) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("fusion", "votes"), [("stacking", 2), ("concat+softmax", 0)])
def test_explain_without_a_gate(run, world, tmp_path, fusion, votes):
    model = ManyEyesClassifier(zoo=world.fast_zoo, fusion=fusion).fit(world.paths, world.labels)
    model.save(tmp_path / "model")
    (record,) = json.loads(run("predict", tmp_path / "model", "--explain", "--json", world.paths[0]).out)
    assert [vote["weight"] for vote in record["votes"]] == [None] * votes
    for form in ([], ["--csv"]):
        assert run("predict", tmp_path / "model", "--explain", *form, world.paths[0]).status == 0


def test_explain_tells_what_each_backbone_added(run, world, tmp_path):
    model = ManyEyesClassifier(zoo=world.zoo).fit(world.paths, world.labels)
    model.save(tmp_path / "model")
    (record,) = json.loads(run("predict", tmp_path / "model", "--explain", "--json", world.paths[0]).out)
    *backbones, everything = record["votes"]
    assert everything["backbone"] == "all blocks" and everything["contributions"] == {}
    assert [list(vote["contributions"]) for vote in backbones] == [["final"], ["final"], ["final", "second-order"]]
    assert max(sum(vote["contributions"].values()) for vote in backbones) > 0
    shown = run("predict", tmp_path / "model", "--explain", world.paths[0]).out
    assert "(final " in shown and ", second-order " in shown
    head, row = csv.reader(io.StringIO(run("predict", tmp_path / "model", "--explain", "--csv", world.paths[0]).out))
    told = dict(zip(head, row, strict=True))
    assert float(told["tint weight"]) == pytest.approx(sum(backbones[0]["contributions"].values()), abs=1e-4)
    assert told["all blocks weight"] == ""


def test_a_folder_is_searched_and_no_file_is_told_twice(run, trained, world):
    done = run("predict", trained, "--csv", world.paths[20], world.photos)
    assert len(done.out.splitlines()) == 1 + 36
    assert world.paths[20] in done.out.splitlines()[1]


@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"], ["--explain", "--csv"]])
def test_nothing_but_broken_files_is_status_1(run, trained, some, form):
    done = run("predict", trained, *form, some[1], some[3])
    assert done.status == 1
    assert "missing" in done.out


def test_a_folder_without_photos_says_so(run, trained, tmp_path):
    (tmp_path / "empty").mkdir()
    done = run("predict", trained, tmp_path / "empty")
    assert done.status == 1
    assert done.error == f"error: no photos in {tmp_path / 'empty'}"


def test_json_and_csv_at_once_is_wrong_usage(run, trained, some):
    done = run("predict", trained, "--json", "--csv", *some)
    assert done.status == 2
    assert "choose one of --json and --csv" in done.err


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda at: None, "is not a manyeyes bundle: it has no config.json"),
        (lambda at: at.mkdir(), "is not a manyeyes bundle: it has no config.json"),
        (lambda at: at.write_text("x"), "is not a manyeyes bundle: it has no config.json"),
    ],
    ids=["missing", "empty", "a file"],
)
def test_a_model_that_is_none(run, world, tmp_path, make, words):
    make(tmp_path / "model")
    assert words in run("predict", tmp_path / "model", world.paths[0]).error


def test_odd_file_names(run, trained, world, tmp_path, monkeypatch):
    odd = ["a b.png", 'it\'s "q".png', "-x.png", "葉🌊.png", "two\nlines.png", "[red].png", "caf\udce9.png", "a,b.png"]
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path / "photos")
    for name in odd:
        shutil.copy(world.paths[0], name)
    records = json.loads(run("predict", trained, "--json", "--", *odd).out)
    assert [record["path"] for record in records] == odd
    table = list(csv.DictReader(io.StringIO(run("predict", trained, "--csv", "--", *odd).out)))
    assert [row["path"] for row in table] == [name.replace("\udce9", r"\udce9") for name in odd]
    shown = run("predict", trained, "--", *odd).out
    assert len(shown.splitlines()) == 1 + len(odd)
    for name in ("two\\nlines.png", "[red].png", "caf\\udce9.png"):
        assert name in shown


@pytest.mark.parametrize("form", ["--json", "--csv", "--explain"])
def test_a_reader_that_leaves_early_is_no_error(trained, world, form):
    command = [*PROGRAM, "predict", str(trained), form, str(world.photos)]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(writer)
    assert done.stderr == ""
    assert done.returncode != 0
