"""``manyeyes adapt --method supernet``: photos in, a smaller backbone out, and another one without tuning again."""

import json
import re
import sys

import numpy as np
import pytest

from manyeyes.adapt.adapting import load_bank
from manyeyes.adapt.supernet.judging import PathJudge
from manyeyes.adapt.supernet.tuning import SupernetTask
from manyeyes.adapt.training import loop
from manyeyes.backbones.backbone import FINAL, Backbone
from manyeyes.backbones.zoo import read_zoo
from manyeyes.errors import AdaptError
from manyeyes.experts import softmax

FAST = ["--epochs", 1, "--size", 48, "--batch", 16, "--population", 6, "--generations", 2]


@pytest.fixture
def adapt(run, world, tmp_path, monkeypatch):
    monkeypatch.setattr(softmax, "STRENGTHS", (0.01, 1.0))
    tiny = world.zoo.rpartition(",")[2]
    monkeypatch.setenv("MANYEYES_HOME", str(tmp_path / "home"))  # where nothing has been tuned

    def command(*words, method="supernet", output="half"):
        return run("adapt", *words, "--method", method, "-o", tmp_path / output, "--backbone", tiny, *FAST)

    return command


def refused(done):
    assert done.status == 2 or done.status == 1, done.out
    return " ".join(done.err.split())


def test_a_smaller_backbone_comes_out(adapt, world, tmp_path):
    done = adapt(world.photos, "--macs", "0.7x")
    assert done.status == 0, done.err
    folder = tmp_path / "half"
    names = {
        "card.json",
        "weights.safetensors",
        "domain.safetensors",
        "search.json",
        "front.md",
        "front.svg",
        "front.png",
    }
    assert {one.name for one in folder.iterdir()} == names
    found = json.loads((folder / "search.json").read_text())
    full, chosen = found["costs"]["full"], found["costs"]["chosen"]
    assert chosen["macs"] <= 0.7 * full["macs"]
    assert chosen["parameters"] <= full["parameters"] and full["seconds"] > 0
    assert any(one["path"] == found["chosen"] and one["macs"] == chosen["macs"] for one in found["paths"])
    assert "takes 0." in done.out and str(folder / "front.md") in done.out
    assert re.search(r"[\d.]+% right on the photos to stop by", done.out)
    table = (folder / "front.md").read_text()
    assert table.startswith("# Smaller networks inside of ") and "model." not in table

    (card,) = read_zoo(f"local:{folder}")
    assert card.macs == chosen["macs"] / 1e9
    photos = np.zeros((2, card.preprocessing.size, card.preprocessing.size, 3), np.uint8)
    assert Backbone.load(card).embed(photos).blocks[FINAL].shape == (2, card.dimension)
    bank, _ = load_bank(folder / "domain.safetensors")
    (name,) = bank.names
    assert len(bank[name].classes) == len(list(world.photos.iterdir()))
    assert bank[name].head.weight.any()


def test_a_folder_has_all_of_it_or_is_not_there(adapt, world, tmp_path, monkeypatch):
    def full_disk(*given):
        raise AdaptError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("manyeyes.cli.adapt_supernet.draw_search", full_disk)
        assert "no space left" in adapt(world.photos).error
    assert not [one.name for one in tmp_path.iterdir() if "half" in one.name]
    monkeypatch.setattr(SupernetTask, "loss", lambda *given: pytest.fail("paths were tuned again"))
    assert adapt(world.photos).status == 0


def test_another_budget_wants_no_tuning_and_asks_for_nothing_twice(adapt, world, monkeypatch, tmp_path):
    assert adapt(world.photos).status == 0
    before = (tmp_path / "half" / "search.json").read_text()
    asked, steps = [], []
    score, step = PathJudge.score, loop._Run.train_step
    monkeypatch.setattr(PathJudge, "score", lambda self, path: (asked.append(path), score(self, path))[1])
    monkeypatch.setattr(loop._Run, "train_step", lambda self: (steps.append(self._task), step(self))[1])
    done = adapt(world.photos, "--macs", "0.9x", method="search", output="most")
    assert done.status == 0, done.err
    assert not asked
    assert {type(task).__name__ for task in steps} == {"DomainTask"}  # only the path alone is trained
    one, other = json.loads(before), json.loads((tmp_path / "most" / "search.json").read_text())
    assert one["paths"] == other["paths"]
    assert other["finding"]["budget"] == {"number": 0.9, "is_share": True}
    assert other["costs"]["chosen"]["macs"] >= one["costs"]["chosen"]["macs"]


def test_a_search_without_a_tuned_supernet_says_what_to_do(adapt, world):
    assert "no paths have been tuned" in refused(adapt(world.photos, method="search"))


def test_a_search_that_was_stopped_goes_on(adapt, world, monkeypatch, tmp_path):
    score, asked = PathJudge.score, []

    def some(self, path):
        if len(asked) == 4:
            raise KeyboardInterrupt
        asked.append(path)
        return score(self, path)

    with monkeypatch.context() as patched:
        patched.setattr(PathJudge, "score", some)
        assert adapt(world.photos).status == 130
    assert not (tmp_path / "half").exists()
    again = []
    monkeypatch.setattr(PathJudge, "score", lambda self, path: (again.append(path), score(self, path))[1])
    assert adapt(world.photos).status == 0
    assert again and not set(again) & set(asked)


@pytest.mark.parametrize(
    "words",
    [["--tuned", "lowrank", "--rank", 4], ["--self-supervised"], ["--linear"]],
    ids=["adapters", "self-supervised", "linear"],
)
def test_other_ways_to_tune_and_to_judge(adapt, world, words):
    done = adapt(world.photos, *words)
    assert done.status == 0, done.err
    assert "the path is local:" in done.out


@pytest.mark.parametrize("words", [[], ["--source-labels"]])
def test_a_source_comes_first(adapt, world, tmp_path, monkeypatch, words):
    tuned = []
    step = loop._Run.train_step
    monkeypatch.setattr(loop._Run, "train_step", lambda self: (tuned.append(self._task.name), step(self))[1])
    (tmp_path / "source").symlink_to(world.photos)
    done = adapt(world.photos, "--source", tmp_path / "source", *words)
    assert done.status == 0, done.err
    names = list(dict.fromkeys(tuned))
    assert names[0] == "source (source)" and names[1] == world.photos.name


def test_without_matplotlib_there_is_a_table(adapt, world, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for name in [one for one in sys.modules if one.startswith("manyeyes.study.figures")]:
        monkeypatch.delitem(sys.modules, name)
    done = adapt(world.photos)
    assert done.status == 0, done.err
    assert "to draw it: pip install 'manyeyes[study]'" in " ".join(done.out.split())
    assert (tmp_path / "half" / "front.md").exists() and not (tmp_path / "half" / "front.svg").exists()


def test_what_is_asked_wrongly_is_told_before_anything_is_done(adapt, run, world, tmp_path, monkeypatch):
    for macs in ("2x", "half", "0x", "100"):
        assert "a budget is a share of the backbone's MACs" in refused(adapt(world.photos, "--macs", macs))
    assert "one folder of photos" in refused(adapt(world.photos, world.photos))
    assert "--tuned is one of full, parallel, lowrank, norms, not 'gated'" in refused(
        adapt(world.photos, "--tuned", "gated")
    )
    assert "--fold is not for a smaller network" in refused(adapt(world.photos, "--fold", tmp_path / "x"))
    assert "--rank is about adapters" in refused(adapt(world.photos, "--rank", 4))
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "mine").touch()
    assert "half is not empty" in refused(adapt(world.photos))
    monkeypatch.setattr("manyeyes.adapt.supernet.search.find_spec", lambda name: None)
    assert "pip install 'manyeyes[search]'" in refused(adapt(world.photos, output="other"))
    plain = run("adapt", world.photos, "--macs", "0.4x", "-o", tmp_path / "d")
    assert "--macs is about a smaller network inside the backbone" in refused(plain)


def test_a_budget_below_the_smallest_path_names_that(adapt, world):
    assert re.search(
        r"no path takes [\d.]+ million MACs or fewer: the smallest takes",
        refused(adapt(world.photos, "--macs", "0.001x")),
    )
