"""``manyeyes study``: from photos to a folder of tables and figures, and how it refuses."""

import csv
import json
import shutil

import pytest

FAST = ["--methods", "*+softmax,stacking,mixture-uniform,best-single,oracle", "--jobs", 1, "--seeds", 1]


@pytest.fixture
def study(run, world, tmp_path):
    """``study(photos, …)`` with the small world's zoo and methods that cost no time, into tmp_path / "study"."""

    def command(*words):
        return run("study", "-o", tmp_path / "study", "--zoo", world.fast_zoo, *FAST, *words)

    return command


def test_a_study_of_a_folder(study, world, tmp_path):
    done = study(world.photos)
    assert done.status == 0
    assert done.out.endswith(f"study written to {tmp_path / 'study'}\n")
    assert "36 photos of 3 classes\n" in done.err
    for name in ("tint+softmax", "edges+softmax", "stacking", "mixture-uniform", "best-single", "oracle"):
        assert f"\n{name} " in done.out
    results = json.loads((tmp_path / "study" / "results.json").read_text())
    assert (results["name"], results["photos"], results["seeds"], results["folds"]) == ("photos", 36, 1, 2)
    assert [len(one["splits"]) for one in results["methods"]] == [2] * 7
    # What made it can be read by others: no folder of this machine is in it.
    assert results["command"].startswith("manyeyes study -o study --zoo ")
    assert str(tmp_path) not in results["command"] and "--seeds 1" in results["command"]
    assert (tmp_path / "study" / "figures" / "kappa.svg").exists()


def test_a_study_of_few_photos_a_class(study, world, tmp_path):
    assert study(world.photos, "--per-class", 2).status == 0
    results = json.loads((tmp_path / "study" / "results.json").read_text())
    assert results["per_class"] == 2
    assert {(split["train"], split["photos"]) for split in results["methods"][0]["splits"]} == {(6, 18)}


def test_a_study_is_replaced_and_other_files_are_not(study, world, tmp_path):
    assert study(world.photos).status == 0
    assert study(world.photos).status == 0
    (tmp_path / "study" / "mine.txt").touch()
    assert "holds other files than a manyeyes study" in study(world.photos).error
    assert (tmp_path / "study" / "mine.txt").exists()


def test_broken_files_are_left_out_and_told(study, world, tmp_path):
    shutil.copytree(world.photos, tmp_path / "photos")
    (tmp_path / "photos" / "sea" / "bad.jpg").touch()
    done = study(tmp_path / "photos")
    assert done.status == 0
    assert "sea/bad.jpg: empty" in done.err
    results = json.loads((tmp_path / "study" / "results.json").read_text())
    assert (results["photos"], results["rejected"]) == (36, 1)


def test_groups_of_a_manifest_are_the_units_of_the_tests(study, world, tmp_path):
    with (tmp_path / "photos.csv").open("w", newline="") as file:
        rows = [
            (path, label, index // 3) for index, (path, label) in enumerate(zip(world.paths, world.labels, strict=True))
        ]
        csv.writer(file).writerows([("path", "label", "group"), *rows])
    assert study(tmp_path / "photos.csv").status == 0
    results = json.loads((tmp_path / "study" / "results.json").read_text())
    assert max(test["better"] + test["worse"] for test in results["paired_tests"]) <= 12


def test_a_failing_method_is_told_and_the_others_are_written(study, world, tmp_path, monkeypatch):
    def fail(self, lesson):
        raise ValueError("no way")

    monkeypatch.setattr("manyeyes.fusion.stacking.Stacking.fit_lesson", fail)
    done = study(world.photos)
    assert done.status == 1
    assert "1 of 7 methods failed and are in no table: stacking: ValueError: no way" in done.err.splitlines()[-1]
    assert "* stacking: ValueError: no way" in (tmp_path / "study" / "table.md").read_text()
    assert "\nbest-single " in done.out


def test_when_all_methods_fail_nothing_is_written(run, world, tmp_path, monkeypatch):
    monkeypatch.setattr("manyeyes.fusion.stacking.Stacking.fit_lesson", lambda self, lesson: 1 // 0)
    words = ["--zoo", world.fast_zoo, "--methods", "stacking", "--jobs", 1, "--seeds", 1]
    done = run("study", world.photos, "-o", tmp_path / "study", *words)
    assert "every method failed, nothing was written: stacking: ZeroDivisionError" in done.err.splitlines()[-1]
    assert not (tmp_path / "study").exists()


def test_a_dataset_by_name(study, world, tmp_path, monkeypatch):
    from manyeyes.images import read_photos

    asked = []

    def read(name, root):
        asked.append((name, root))
        return read_photos(world.photos)

    monkeypatch.setattr("manyeyes.images.read_dataset", read)
    done = study("--dataset", "flowers17", "--root", tmp_path / "flowers")
    assert done.status == 0
    assert asked == [("flowers17", tmp_path / "flowers")]
    assert json.loads((tmp_path / "study" / "results.json").read_text())["name"] == "flowers17"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--methods", "staking"], "'staking' matches no method: choose from tint+softmax"),
        (["--zoo", "garden"], "'garden'"),
        (["--words", "klingon"], "'klingon' is not one of the label spaces"),
        (["--precision", "fp8"], "'fp8' is not one of the precisions: choose from auto, fp32, bf16"),
    ],
)
def test_unknown_choices_are_one_line(run, world, tmp_path, words, error):
    done = run("study", world.photos, "-o", tmp_path / "study", "--zoo", world.fast_zoo, *words)
    assert error in done.error
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["photos", "--dataset", "flowers17"],
        ["--dataset", "flowers17"],
        ["photos", "--root", "x"],
        ["photos", "--folds", 1],
        ["photos", "--jobs", 0],
    ],
)
def test_words_that_do_not_go_together_are_wrong_usage(study, words):
    done = study(*words)
    assert done.status == 2
    assert "Traceback" not in done.err


def test_photos_of_which_no_class_has_two(study, world, tmp_path):
    for name in ("apple", "sea"):
        (tmp_path / "few" / name).mkdir(parents=True)
        shutil.copy(world.photos / name / "00.png", tmp_path / "few" / name)
    assert "no class has two photos" in study(tmp_path / "few").error
