"""A backbone that cannot look at serving time: the answer is less sure, says so, and is not refused."""

import dataclasses
import hashlib
import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from manyeyes import ManyEyesClassifier
from manyeyes.asking import LostBackboneWarning
from manyeyes.backbones.backbone import Backbone
from manyeyes.backbones.zoo import read_zoo
from manyeyes.errors import BundleError, ChecksumError, EngineError, LackingBackboneError, ManyEyesError
from manyeyes.predictions import predictions

from .cli.conftest import run  # noqa: F401


@pytest.fixture
def zoo(world, tmp_path):
    """The small world's backbones in a folder of their own, where one can go missing."""
    names = [Path(word.partition(":")[2]) for word in world.fast_zoo.split(",")]
    return ",".join(f"onnx:{shutil.copy(name, tmp_path)}" for name in names)


def fit(world, zoo, **options):
    return ManyEyesClassifier(zoo=zoo, **options).fit(world.paths, world.labels)


@pytest.fixture
def remove(zoo, tmp_path, monkeypatch):
    """Takes a backbone's file away, and the copy that the cache has of it."""

    def take(number):
        monkeypatch.setenv("MANYEYES_HOME", str(tmp_path / "another home"))
        Path(zoo.split(",")[number].partition(":")[2]).unlink()

    return take


def test_weights_that_are_gone_are_done_without(world, zoo, remove):
    model = fit(world, zoo)
    table = model.look(world.paths).table
    remove(1)
    with pytest.warns(LostBackboneWarning, match=r"edges cannot look, and answers go by the other backbones: .*edges"):
        proba = model.predict_proba(world.paths)
    np.testing.assert_allclose(proba, model.fusion_.without({"edges", "edges/second-order"}).predict_proba(table))


def test_an_engine_that_fails_is_noticed_when_it_is_first_wanted(world, zoo, tmp_path, monkeypatch):
    model = fit(world, zoo).set_params(features=tmp_path / "none yet")
    model._built.clear()
    built = Backbone.encoder.func

    def encoder(backbone):
        if backbone.card.name == "tint":
            raise EngineError("no engine here runs tint")
        return built(backbone)

    monkeypatch.setattr(Backbone, "encoder", property(encoder))
    with pytest.warns(LostBackboneWarning, match=r"tint cannot look"):
        some = predictions(model, world.paths[:3])
    assert [one.lost for one in some] == [{"tint": "no engine here runs tint"}] * 3
    assert {vote.backbone for one in some for vote in one.votes} == {"edges"}


def test_when_none_can_look_the_first_says_why(world, zoo, remove):
    model = fit(world, zoo)
    remove(0)
    remove(1)
    with pytest.raises(ManyEyesError, match=r"tint"):
        model.predict(world.paths)


def test_a_fusion_that_sees_all_side_by_side_says_that_it_cannot(world, zoo, remove):
    model = fit(world, zoo, fusion="concat+ridge")
    remove(0)
    with pytest.raises(LackingBackboneError, match=r"ConcatRidge can say nothing without tint: .*tint"):
        model.predict(world.paths)


def test_fitting_and_judging_want_all(world, zoo, remove):
    model = fit(world, zoo)
    remove(1)
    with pytest.raises(ManyEyesError, match=r"edges"):
        model.look(world.paths)


def test_when_all_can_look_nothing_is_said(world, zoo):
    model = fit(world, zoo)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert predictions(model, world.paths[:1])[0].lost == {}


def test_the_command_says_it(world, zoo, remove, tmp_path, run):  # noqa: F811
    fit(world, zoo, fusion="mixture", gate="embedding").save(tmp_path / "model")
    remove(1)
    done = run("predict", tmp_path / "model", *world.paths[:2])
    assert done.status == 0
    assert done.err.startswith("note: edges cannot look, and answers go by the other backbones: ")
    assert done.out.count("apple") >= 2


def test_weights_that_are_not_what_they_should_be_are_refused(world, zoo, tmp_path, monkeypatch):
    cards = []
    for card in read_zoo(zoo):
        folder = tmp_path / f"{card.name} card"
        folder.mkdir()
        pinned = dataclasses.replace(card, sha256=hashlib.sha256(Path(card.where).read_bytes()).hexdigest())
        (folder / "card.json").write_text(json.dumps(pinned.to_dict()))
        cards.append(f"local:{folder}")
    model = fit(world, ",".join(cards))
    monkeypatch.setenv("MANYEYES_HOME", str(tmp_path / "another home"))
    with Path(read_zoo(zoo)[1].where).open("ab") as file:
        file.write(b"x")
    with pytest.raises((ChecksumError, BundleError)):
        model.predict(world.paths)


def test_a_csv_tells_what_is_lost(world, zoo, remove, tmp_path, run):  # noqa: F811
    fit(world, zoo).save(tmp_path / "model")
    remove(1)
    head, first, *_ = run("predict", tmp_path / "model", "--csv", "--quiet", *world.paths[:2]).out.splitlines()
    assert dict(zip(head.split(","), first.split(","), strict=True))["lost"] == "edges"
