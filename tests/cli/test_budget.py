"""A model that asks its backbones in turn: ``manyeyes fit --budget``, what it then says, and ``manyeyes budget``."""

import csv
import dataclasses
import io
import json

import numpy as np
import pytest

from manyeyes import ManyEyesClassifier, asking
from manyeyes.backbones.zoo import read_zoo
from manyeyes.features import darkroom
from manyeyes.features.extract import extract


@pytest.fixture(scope="module")
def zoo(made_world, tmp_path_factory):
    """The small world's backbones with cards that tell their MACs."""
    folder, words = tmp_path_factory.mktemp("cards"), []
    for card, macs in zip(read_zoo(made_world.fast_zoo), (0.1, 0.4), strict=True):
        (folder / card.name).mkdir()
        (folder / card.name / "card.json").write_text(json.dumps(dataclasses.replace(card, macs=macs).to_dict()))
        words.append(f"local:{folder / card.name}")
    return ",".join(words)


@pytest.fixture
def model(world, zoo, tmp_path):
    fitted = ManyEyesClassifier(zoo=zoo, budget=0.6).fit(world.paths, world.labels)
    fitted.save(tmp_path / "model")
    return tmp_path / "model"


def test_fit_says_in_which_order_and_what_it_takes(run, world, zoo, tmp_path):
    done = run("fit", world.photos, "--zoo", zoo, "--budget", 0.6, "--no-compare", "-o", tmp_path / "model")
    assert done.status == 0, done.err
    assert "backbones are asked in turn until the answer is sure: tint, edges" in done.err
    assert ManyEyesClassifier.load(tmp_path / "model").budget == 0.6
    assert "asked in turn until the answer is sure: tint, edges." in (tmp_path / "model" / "README.md").read_text()
    assert "asked on the mean" in run("evaluate", tmp_path / "model", world.photos).out


def test_only_unsure_photos_are_looked_at_by_the_second_backbone(world, model, monkeypatch):
    loaded, asked = ManyEyesClassifier.load(model), {}

    def noted(paths, backbones, store, darkroom):
        asked[tuple(one.card.name for one in backbones)] = len(paths)
        return extract(paths, backbones, store, darkroom)

    monkeypatch.setattr("manyeyes.photo_classifier.extract", noted)
    loaded.fusion_.price_ = float(np.median(loaded.fusion_.frontier_["prices"][1:-1]))
    proba = loaded.predict_proba(world.paths)
    assert asked["tint",] == len(world.paths)
    assert 0 < asked["edges",] < len(world.paths)
    whole = loaded.fusion_.predict_proba(loaded.look(world.paths).table)
    np.testing.assert_allclose(proba, whole, atol=1e-6)


def test_each_photo_is_decoded_once_and_asking_in_parts_is_the_same(world, model, tmp_path, monkeypatch):
    loaded = ManyEyesClassifier.load(model, features=tmp_path / "none yet").spend(1.0)
    decoded, decode = [], darkroom.decode

    def noted(data, path, most):
        decoded.append(path)
        return decode(data, path, most)

    monkeypatch.setattr(darkroom, "decode", noted)
    proba = loaded.predict_proba(world.paths)
    assert sorted(decoded) == sorted(world.paths)
    monkeypatch.setattr(asking, "PART", 5)
    np.testing.assert_allclose(loaded.predict_proba(world.paths), proba)
    assert loaded.predict_proba([]).shape == (0, 3)


def test_photos_that_cannot_be_read_keep_their_place(model, world, tmp_path):
    (tmp_path / "broken.jpg").write_text("no photo")
    loaded = ManyEyesClassifier.load(model).spend(1.0)
    with pytest.warns(UserWarning, match=r"broken"):
        proba = loaded.predict_proba([world.paths[0], tmp_path / "broken.jpg", world.paths[-1]])
    assert np.isnan(proba).all(axis=1).tolist() == [False, True, False]
    with pytest.warns(UserWarning, match=r"broken"):
        assert loaded.predict([tmp_path / "broken.jpg"]).tolist() == [None]


def test_explain_tells_who_was_asked_and_what_that_took(run, model, world):
    loaded = ManyEyesClassifier.load(model)
    loaded.fusion_.price_ = float(np.median(loaded.fusion_.frontier_["prices"][1:-1]))
    loaded.save(model)
    records = json.loads(run("predict", model, "--json", "--explain", *world.paths).out)
    assert {round(record["turns"][-1]["cost"], 6) for record in records} == {0.2, 1.0}
    for record in records:
        names, turns = [vote["backbone"] for vote in record["votes"]], record["turns"]
        assert names == (["tint"] if len(turns) == 1 else ["tint", "edges", "all blocks"])
        assert [turn["backbone"] for turn in turns] == ["tint", "edges"][: len(turns)]
        assert (turns[-1]["label"], turns[-1]["probability"]) == (record["label"], pytest.approx(record["probability"]))
        assert ("all backbones were asked" in record["stopped"]) == (len(turns) == 2)
    shown = run("predict", model, "--explain", *world.paths).out
    assert "asked tint, by now 20.0% of what all take" in shown
    assert "is not worth asking edges" in shown
    assert not json.loads(run("predict", model, "--json", *world.paths).out)[0].keys() & {"turns", "stopped"}
    rows = list(csv.DictReader(io.StringIO(run("predict", model, "--csv", "--explain", *world.paths).out)))
    assert len({len(row) for row in rows}) == 1
    for row, record in zip(rows, records, strict=True):
        assert bool(row["edges label"]) == (len(record["turns"]) == 2)


def test_budget_shows_what_each_comes_to(run, model, world, tmp_path):
    done = run("budget", model, world.photos, "--figure", tmp_path / "frontier.svg")
    assert done.status == 0, done.err
    lines = [line.split() for line in done.out.splitlines() if line.strip()]
    rows = {line[0]: line for line in lines}
    assert rows["100%"][1:3] == ["100.0", "2.0"]
    assert rows["tint"][1:3] == ["20.0", "1.0"]
    assert {"20%", "30%", "60.0%", "50%"} <= rows.keys()
    assert "15%" not in rows  # the first backbone takes more
    assert {path.name for path in tmp_path.glob("frontier.*")} == {"frontier.svg", "frontier.png"}


def test_set_lets_the_model_go_by_another_budget(run, model, world):
    before = json.loads((model / "config.json").read_text())["tensors_sha256"]
    (model / "rejected.csv").write_text("as it was")
    done = run("budget", model, world.photos, "--set", 1)
    assert done.out.splitlines()[-1] == f"{model} goes by a budget of 1 from now on (100.0% of what all backbones take)"
    assert (model / "rejected.csv").read_text() == "as it was"
    again = ManyEyesClassifier.load(model)
    assert (again.budget, again.fusion_.price_) == (1.0, -np.inf)
    assert json.loads((model / "config.json").read_text())["tensors_sha256"] == before


def test_what_cannot_be_is_refused(run, trained, world, zoo, model, tmp_path):
    assert "asks all backbones about every photo: fit it with --budget" in run("budget", trained, world.photos).error
    assert (
        "a budget of 1.0% of what all backbones take is too small"
        in run("budget", model, world.photos, "--set", 0.01).error
    )
    fit = ("fit", world.photos, "--no-compare", "-o", tmp_path / "other")
    assert "a number above 0 and up to 1, not 1.5" in run(*fit, "--zoo", zoo, "--budget", 1.5).error
    assert "too small: the cheapest takes 20.0%" in run(*fit, "--zoo", zoo, "--budget", 0.1).error
    assert "no figure can be written" in run("budget", model, world.photos, "--figure", model / "README.md" / "f").error
    sized = ("--zoo", zoo, "--budget", 0.5, "--adapt", "norms", "--adapt-size", 32)
    assert (
        "with adapt_size, give a budget in ms" in run(*fit, *sized).error
        or "cannot be adapted" in run(*fit, *sized).error
    )
    assert "does not tell its MACs" in run(*fit, "--zoo", world.fast_zoo, "--budget", 0.5).error
    assert not (tmp_path / "other").exists()


def test_budgets_in_macs_and_in_milliseconds(run, world, zoo, tmp_path):
    fit = ("fit", world.photos, "--no-compare", "--zoo")
    assert run(*fit, zoo, "--budget-macs", "250M", "-o", tmp_path / "macs").status == 0
    macs = ManyEyesClassifier.load(tmp_path / "macs")
    assert (macs.budget, macs.budget_unit, macs.fusion_.costs) == (250e6, "macs", {"tint": 100e6, "edges": 400e6})
    assert macs.fusion_.budget == 0.5
    # Cards need not tell their MACs for that.
    assert run(*fit, world.fast_zoo, "--budget-ms", 1000, "-o", tmp_path / "ms").status == 0
    assert ManyEyesClassifier.load(tmp_path / "ms").fusion_.price_ == -np.inf
    both = run(*fit, zoo, "--budget", 0.5, "--budget-ms", 3, "-o", tmp_path / "both")
    assert both.error.endswith("choose one of --budget, --budget-macs, --budget-ms and --keep")
    assert "such as 500M or 1.2G, not '5 litres'" in run(*fit, zoo, "--budget-macs", "5 litres", "-o", "x").error


def test_what_is_to_be_kept_is_said_instead_of_a_budget(run, world, zoo, tmp_path):
    fit = ("fit", world.photos, "--no-compare", "--zoo", zoo, "-o", tmp_path / "kept")
    done = run(*fit, "--keep", 0.9)
    assert done.status == 0, done.err
    model = ManyEyesClassifier.load(tmp_path / "kept")
    assert (model.budget, model.budget_unit, model.fusion_.kept) == (0.9, "kept", 0.9)
    assert model.fusion_.expected().cost == model.fusion_.budget
    assert run("budget", tmp_path / "kept", world.photos, "--set", 1).status == 0
    assert ManyEyesClassifier.load(tmp_path / "kept").fusion_.kept == 1
    assert "what is to be kept is a number above 0 and up to 1, not 1.5" in run(*fit, "--keep", 1.5).error


@pytest.mark.parametrize("by", ["thumbnail", "both"])
def test_a_gate_may_decide_by_the_thumbnail(run, world, zoo, tmp_path, by):
    done = run(
        "fit", world.photos, "--no-compare", "--zoo", zoo, "--budget", 0.6, "--budget-by", by, "-o", tmp_path / "m"
    )
    assert done.status == 0, done.err
    assert "as far as a gate sees fit by the thumbnail" in done.err
    assert "as far as a gate sees fit by the thumbnail" in (tmp_path / "m" / "README.md").read_text()
    model = ManyEyesClassifier.load(tmp_path / "m")
    assert (model.fusion_.by, type(model.fusion_.gate_).__name__) == (by, "CnnGate32")
    records = json.loads(run("predict", tmp_path / "m", "--json", "--explain", *world.paths).out)
    table = model.look(world.paths).table
    np.testing.assert_array_equal([len(one["turns"]) - 1 for one in records], model.fusion_.run_on(table).stages)
    assert run("budget", tmp_path / "m", world.photos).status == 0


def test_who_decides_wants_a_budget_and_a_gate_that_sees_thumbnails(run, world, zoo, tmp_path):
    fit = ("fit", world.photos, "--no-compare", "--zoo", zoo, "-o", tmp_path / "m")
    assert "--budget-by is about a budget" in run(*fit, "--budget-by", "both").error
    by = (*fit, "--budget", 0.6, "--budget-by")
    assert "the gate 'embedding' sees no thumbnails" in run(*by, "both", "--gate", "embedding").error
    assert "confidence, thumbnail, both, not by 'chance'" in run(*by, "chance").error
