"""``manyeyes evaluate``: scores, and what is taken for what."""

import csv
import json
import shutil

import numpy as np
import pytest

from manyeyes import ManyEyesClassifier


def test_the_tables(run, trained, world):
    done = run("evaluate", trained, world.held_out)
    assert done.status == 0
    assert done.err == ""
    assert done.out.startswith("9 photos\n")
    for name in ("tint ", "edges ", "fused (mixture) ", "confusion (rows: true class, columns: predicted)"):
        assert f"\n{name}" in done.out


def test_json_tells_what_python_tells(run, trained, world):
    record = json.loads(run("evaluate", trained, world.photos, "--json").out)
    model = ManyEyesClassifier.load(trained)
    assert list(record["scores"]) == ["tint", "edges", "fused (mixture)"]
    fused = record["scores"]["fused (mixture)"]
    assert fused["accuracy"] == pytest.approx(model.score(world.paths, world.labels))
    assert fused["photos"] == 36
    confusion = np.array(record["confusion"])
    assert confusion.sum(axis=1).tolist() == [12, 12, 12]
    assert np.trace(confusion) / 36 == pytest.approx(fused["accuracy"])
    assert record["classes"] == ["apple", "leaf", "sea"]
    assert record["rejected"] == []


def test_broken_files_are_left_out_and_told(run, trained, world, tmp_path):
    shutil.copytree(world.held_out, tmp_path / "photos")
    (tmp_path / "photos" / "sea" / "broken.jpg").touch()
    done = run("evaluate", trained, tmp_path / "photos", "--json")
    record = json.loads(done.out)
    assert np.sum(record["confusion"]) == 9
    assert [one["reason"] for one in record["rejected"]] == ["empty"]
    assert "sea/broken.jpg: empty (the file has no bytes)" in done.err


def test_a_class_that_the_photos_lack_is_no_fault(run, trained, world, tmp_path):
    shutil.copytree(world.held_out / "leaf", tmp_path / "photos" / "leaf")
    record = json.loads(run("evaluate", trained, tmp_path / "photos", "--json").out)
    assert np.sum(record["confusion"], axis=1).tolist() == [0, 3, 0]


def test_an_unknown_class_is_refused(run, trained, world, tmp_path):
    shutil.copytree(world.held_out / "sea", tmp_path / "photos" / "ocean")
    error = run("evaluate", trained, tmp_path / "photos").error
    assert error == "error: the model does not know the classes ocean: it knows apple, leaf, sea"


def test_photos_of_the_train_split_are_left_out(run, trained, world, tmp_path):
    shutil.copytree(world.photos, tmp_path / "photos" / "train")
    shutil.copytree(world.held_out, tmp_path / "photos" / "test")
    assert run("evaluate", trained, tmp_path / "photos").out.startswith("9 photos\n")
    with (tmp_path / "photos.csv").open("w", newline="") as file:
        rows = [(path, label, "train") for path, label in zip(world.paths, world.labels, strict=True)]
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    assert "are in the split 'train'" in run("evaluate", trained, tmp_path / "photos.csv").error


def test_nothing_but_broken_files_is_refused(run, trained, tmp_path):
    (tmp_path / "photos" / "sea").mkdir(parents=True)
    (tmp_path / "photos" / "sea" / "a.jpg").touch()
    assert "none of the 1 photos" in run("evaluate", trained, tmp_path / "photos").error


def test_numbers_for_classes_keep_their_order(run, world, tmp_path):
    """As text "10" comes before "2"."""
    number = {"apple": 10, "leaf": 2, "sea": -1}
    model = ManyEyesClassifier(zoo=world.fast_zoo)
    model.fit(world.paths, [number[label] for label in world.labels]).save(tmp_path / "model")
    for label, name in number.items():
        shutil.copytree(world.photos / label, tmp_path / "photos" / str(name))
    record = json.loads(run("evaluate", tmp_path / "model", tmp_path / "photos", "--json").out)
    assert record["classes"] == ["-1", "2", "10"]
    assert record["scores"]["fused (auto)"]["accuracy"] >= 0.9


@pytest.mark.filterwarnings("ignore:The number of unique classes is greater")
def test_many_classes_are_told_by_their_worst_mistakes(run, world, tmp_path):
    labels = [f"{label} {index % 5}" for index, label in enumerate(world.labels)]
    model = ManyEyesClassifier(zoo=world.fast_zoo, gate="uniform").fit(world.paths, labels)
    model.save(tmp_path / "model")
    (tmp_path / "photos.csv").write_text(
        "path,label\n" + "".join(f"{path},{label}\n" for path, label in zip(world.paths, labels, strict=True))
    )
    done = run("evaluate", tmp_path / "model", tmp_path / "photos.csv")
    assert "most confused" in done.out
    assert "confusion" not in done.out
    assert len(done.out[done.out.index("most confused") :].splitlines()) <= 2 + 10


def test_a_fusion_without_experts_has_one_row(run, world, tmp_path):
    model = ManyEyesClassifier(zoo=world.fast_zoo, fusion="concat+softmax").fit(world.paths, world.labels)
    model.save(tmp_path / "model")
    record = json.loads(run("evaluate", tmp_path / "model", world.held_out, "--json").out)
    assert list(record["scores"]) == ["fused (concat+softmax)"]


def test_photos_that_were_trained_on_are_told_of(run, trained, world):
    assert "note: 36 of these 36 photos were trained on" in run("evaluate", trained, world.photos).err
    assert "trained on" not in run("evaluate", trained, world.held_out).err
