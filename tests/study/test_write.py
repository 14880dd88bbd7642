"""What a study writes: the page, the data that reads back as it was, and figures that make sense for it."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from small_world import write_photos

from manyeyes.backbones.card import Card
from manyeyes.errors import StudyError
from manyeyes.features.table import FeatureTable
from manyeyes.study.compare import compare, cross_validation
from manyeyes.study.folder import read_results
from manyeyes.study.methods import Kind, Method, all_methods, choose
from manyeyes.study.outcomes import Outcomes
from manyeyes.study.record import Facts, load_outcomes
from manyeyes.study.write import write_study

from .conftest import by_hand

FACTS = Facts(
    name="pets | of <mine>",
    zoo="lite",
    cards=(Card("first", "wheel:first==1#weights.pth", "net", 5, licence="MIT"),),
    weights={"first": "f" * 64},
    precision="fp32",
    folds=2,
    seeds=2,
    per_class=None,
    rejected=1,
    notes=("one * note",),
    command="manyeyes study pets -o study",
    seconds=12.3,
    processes=2,
)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return [str(path) for path in write_photos(tmp_path_factory.mktemp("photos"), ["a", "b", "c"], count=16)]


@pytest.fixture(scope="module")
def outcomes(photos, methods):
    broken = Method("no-such", Kind.RIVAL, fusion="no-such")
    groups = np.arange(len(photos[1])) // 2
    splits = cross_validation(photos[1], 2, range(2), groups)
    return compare([*methods, broken], *photos, splits, groups)


@pytest.fixture(scope="module")
def study(outcomes, photos, paths, tmp_path_factory):
    folder = tmp_path_factory.mktemp("written") / "study"
    write_study(folder, outcomes, photos[0], paths, FACTS)
    return folder


def test_outcomes_read_back_as_they_were(study, outcomes):
    again = load_outcomes(study)
    assert again.methods == outcomes.methods
    assert again.classes == outcomes.classes
    assert again.failures == outcomes.failures
    assert (again.labels == outcomes.labels).all() and (again.groups == outcomes.groups).all()
    for one, other in zip(again.trials, outcomes.trials, strict=True):
        assert (one.split.seed, one.split.fold) == (other.split.seed, other.split.fold)
        assert (one.split.train == other.split.train).all() and (one.split.test == other.split.test).all()
        assert list(one.answers) == list(other.answers)
        for name, answers in other.answers.items():
            assert (one.answers[name].predicted == answers.predicted).all()
            np.testing.assert_allclose(one.answers[name].of_truth, answers.of_truth, rtol=1e-6)
            assert (one.answers[name].shares is None) == (answers.shares is None)
    names, values = outcomes.mean_shares("auto")
    assert list(again.mean_shares("auto")[0]) == list(names)
    np.testing.assert_allclose(again.mean_shares("auto")[1], values, rtol=1e-5)


def test_results_hold_every_split_of_every_method(study, outcomes):
    results = read_results(study)
    assert [one["name"] for one in results["methods"]] == [method.name for method in outcomes.methods]
    for one, result in zip(results["methods"], outcomes.results(), strict=True):
        assert [split["accuracy"] for split in one["splits"]] == [scores.accuracy for scores in result.scores]
        assert len(one["splits"]) == (0 if one["name"] == "no-such" else 4)
    assert "UnknownNameError" in results["methods"][-1]["failure"]
    assert (results["command"], results["folds"], results["seeds"]) == (FACTS.command, 2, 2)
    assert set(results["versions"]) >= {"manyeyes", "python", "numpy", "torch"}
    assert results["classes"] == {"cat": 16, "dog": 16, "owl": 15, "yak": 1}
    assert {test["reference"] for test in results["paired_tests"]} == {
        "best-single",
        "mixture-uniform",
        "concat+softmax",
        "stacking",
        "concat+kernel-ridge",
    }
    assert results["agreement"]["methods"] == ["first+softmax", "second+softmax"]
    assert results["agreement"]["mean_shares"]["auto"]["by_class"][3] is None


def test_the_page_tells_everything(study, outcomes):
    page = (study / "table.md").read_text()
    assert page.startswith("# pets \\| of \\<mine\\>: 48 photos, 4 classes, zoo lite\n")
    assert "1 photos could not be read" in page and "one \\* note" in page
    assert "1 photos were never judged" in page
    for result in outcomes.results():
        if result.scores:
            accuracy = f"{100 * result.mean('accuracy'):.2f} ± {100 * result.spread('accuracy'):.2f}"
            row = next(line for line in page.splitlines() if line.startswith(f"| {result.method.name} |"))
            assert accuracy in row
    assert "* no-such: UnknownNameError" in page
    assert (
        "| method | against best-single | against mixture-uniform | against concat+softmax | against stacking |" in page
    )
    assert FACTS.command in page


def test_every_figure_that_the_page_shows_is_there_and_none_else(study):
    page = (study / "table.md").read_text()
    drawn = {path.stem for path in (study / "figures").iterdir()}
    assert {name for name in drawn if f"(figures/{name}.svg)" in page} == drawn
    assert {"accuracy", "kappa", "backbones-right", "classes-won", "confused-pair", "disagreement"} <= drawn
    for name in drawn:
        assert (study / "figures" / f"{name}.svg").read_text().startswith("<?xml")
        with Image.open(study / "figures" / f"{name}.png") as image:
            assert image.width >= 1000


def test_the_same_outcomes_write_the_same_bytes(study, outcomes, photos, paths, tmp_path):
    write_study(tmp_path / "study", outcomes, photos[0], paths, FACTS)
    for path in study.rglob("*"):
        if path.suffix in (".svg", ".md", ".json"):
            assert (tmp_path / "study" / path.relative_to(study)).read_bytes() == path.read_bytes(), path.name


def small(said, singles, labels, classes=None):
    """Outcomes by hand, with a table and paths to go with them."""
    outcomes = by_hand(labels, said, singles, classes=classes)
    rng = np.random.default_rng(0)
    table = FeatureTable({name: rng.normal(size=(len(labels), 3)).astype("f4") for name in singles or ["eye"]})
    return outcomes, table, [f"gone-{row}.jpg" for row in range(len(labels))]


def write(made, folder) -> tuple[str, set[str]]:
    write_study(folder, *made, FACTS)
    return (folder / "table.md").read_text(), {path.stem for path in (folder / "figures").glob("*.png")}


def test_a_single_backbone_has_nobody_to_agree_with(tmp_path):
    page, drawn = write(small({"eye": [[0, 1, 0, 0]]}, ["eye"], [0, 1, 0, 1]), tmp_path / "study")
    assert drawn == {"accuracy"}
    assert "* what backbones agree on: fewer than two were compared alone" in page
    assert read_results(tmp_path / "study")["agreement"] is None


def test_without_backbones_alone_there_is_no_agreement_either(tmp_path):
    _, drawn = write(small({"auto": [[0, 1, 0, 0]], "stacking": [[0, 1, 1, 0]]}, [], [0, 1, 0, 1]), tmp_path / "study")
    assert drawn == {"accuracy"}


def test_backbones_that_make_no_mistakes(tmp_path):
    truth = [0, 1, 0, 1, 0, 1]
    page, drawn = write(small({"eye": [truth], "ear": [truth]}, ["eye", "ear"], truth), tmp_path / "study")
    assert drawn == {"accuracy", "kappa", "backbones-right", "classes-won"}
    for reason in ("no backbone took any photo for another class", "they say the same of every photo", "best F1"):
        assert reason in page


def test_two_classes_of_a_few_photos_whose_files_are_gone(tmp_path):
    made = small({"eye": [[0, 1, 1, 1]], "ear": [[0, 0, 0, 1]]}, ["eye", "ear"], [0, 1, 0, 1])
    _, drawn = write(made, tmp_path / "study")
    assert {"confused-pair", "class-f1", "disagreement"} <= drawn


def test_names_that_are_no_names(tmp_path):
    outcomes, table, paths = small({"eye": [[0, 1, 1, 1]], "ear": [[0, 0, 0, 1]]}, ["eye", "ear"], [0, 1, 0, 1])
    odd = ("$\\frac{", "caf\udce9 <b>|\n" + "x" * 90)
    strange = Outcomes(odd, outcomes.labels, outcomes.methods, outcomes.trials)
    facts = dataclasses.replace(FACTS, name="\x1b[31m$x_1$")
    write_study(tmp_path / "study", strange, table, paths, facts)
    assert json.loads((tmp_path / "study" / "results.json").read_text())["name"] == "\x1b[31m$x_1$"
    assert "\x1b" not in (tmp_path / "study" / "table.md").read_text()


def test_a_page_tells_of_how_few_photos_were_trained_on(tmp_path):
    made = small({"eye": [[0, 1, 0, 0]]}, ["eye"], [0, 1, 0, 1])
    write_study(tmp_path / "study", *made, dataclasses.replace(FACTS, per_class=5))
    assert "No more than 5 photos of a class were trained on." in (tmp_path / "study" / "table.md").read_text()
    assert read_results(tmp_path / "study")["per_class"] == 5


def test_a_folder_of_other_files_is_refused(tmp_path, outcomes, photos, paths):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(StudyError, match="holds other files"):
        write_study(tmp_path, outcomes, photos[0], paths, FACTS)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_without_matplotlib_one_line_says_what_to_install():
    code = """
import importlib.machinery

find = importlib.machinery.PathFinder.find_spec
importlib.machinery.PathFinder.find_spec = lambda name, *given: None if name == "matplotlib" else find(name, *given)
from manyeyes.errors import MissingExtraError
try:
    import manyeyes.study.write
except MissingExtraError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "a study's figures need matplotlib: pip install 'manyeyes[study]'\n"


def test_methods_with_a_label_space_read_back_with_their_settings(tmp_path):
    chosen = choose(all_methods(["eye"], words=["glove-50d"]), ["mixture-embedding-le-glove-50d", "eye+softmax"])
    outcomes, table, paths = small({"eye": [[0, 1, 0, 1]]}, ["eye"], [0, 1, 0, 1])
    answers = outcomes.trials[0].answers["eye+softmax"]
    trials = tuple(
        dataclasses.replace(trial, answers={method.name: trial.answers["eye+softmax"] for method in chosen})
        for trial in outcomes.trials
    )
    made = Outcomes(outcomes.classes, outcomes.labels, chosen, trials)
    write_study(tmp_path / "study", made, table, paths, FACTS)
    again = load_outcomes(tmp_path / "study")
    assert again.methods == chosen
    assert (again.trials[0].answers[chosen[1].name].predicted == answers.predicted).all()
