"""The race for the fastest engine: run once, when it is worth it, and written down."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from manyeyes.backbones.backbone import FINAL, Backbone
from manyeyes.backbones.card import Card
from manyeyes.backbones.engines import auto
from manyeyes.backbones.engines.cuda_engine import CudaEngine
from manyeyes.backbones.engines.openvino_engine import OpenVinoEncoder
from manyeyes.backbones.engines.torch_engine import TorchEncoder
from manyeyes.backbones.weights import ensure_weights
from manyeyes.errors import EngineError

pytestmark = pytest.mark.skipif(not CudaEngine().why_not(), reason="with a GPU there is no race")


def records(card: Card) -> list[Path]:
    return sorted(ensure_weights(card).glob("engines-*.json"))


def started(card: Card, photos: int = 1000) -> Backbone:
    backbone = Backbone.load(card, engine="auto")
    backbone.expect(photos)
    _ = backbone.encoder
    return backbone


def test_for_few_photos_there_is_no_race(card: Card) -> None:
    assert isinstance(started(card, auto.WORTH_A_RACE - 1).encoder, TorchEncoder)
    assert records(card) == []


def test_the_race_is_written_down_and_told(card, photos, truth, caplog) -> None:
    with caplog.at_level(logging.INFO, "manyeyes"):
        backbone = started(card)
    (file,) = records(card)
    record = json.loads(file.read_text())
    assert record["milliseconds"].keys() == {"torch", "openvino"}
    assert "wins (torch" in caplog.text
    np.testing.assert_allclose(backbone.embed(photos).blocks[FINAL], truth.blocks[FINAL], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("times", "kind"), [((2.0, 1.0), OpenVinoEncoder), ((1.0, 2.0), TorchEncoder)])
def test_what_is_written_down_decides_for_few_photos_too(card, monkeypatch, times, kind) -> None:
    started(card)
    (file,) = records(card)
    record = json.loads(file.read_text())
    file.write_text(json.dumps(record | {"milliseconds": dict(zip(("torch", "openvino"), times, strict=True))}))
    monkeypatch.setattr(auto, "_race", lambda job: pytest.fail("raced again"))
    assert isinstance(started(card, 1).encoder, kind)


@pytest.mark.parametrize("text", ["", "[]", '{"conditions": 1}', "{}"])
def test_a_record_that_cannot_be_read_means_another_race(card: Card, text: str) -> None:
    started(card)
    (file,) = records(card)
    file.write_text(text)
    started(card)
    assert json.loads(file.read_text())["milliseconds"].keys() == {"torch", "openvino"}


def test_another_version_or_processor_means_another_race(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    started(card)
    before = records(card)[0].read_text()
    monkeypatch.setattr(auto, "_processor", lambda: "another one")
    started(card)
    assert "another one" in records(card)[0].read_text() != before


def test_a_network_that_openvino_cannot_convert_runs_on_torch(card, photos, truth, monkeypatch, caplog) -> None:
    def refuse(job):
        raise EngineError("OpenVINO cannot convert tiny: no such operator")

    monkeypatch.setattr("manyeyes.backbones.engines.openvino_engine.graph", refuse)
    with caplog.at_level(logging.INFO, "manyeyes"):
        backbone = started(card)
    assert isinstance(backbone.encoder, TorchEncoder)
    assert "no such operator" in caplog.text
    monkeypatch.setattr(auto, "_race", lambda job: pytest.fail("raced again"))
    assert isinstance(started(card).encoder, TorchEncoder)


def test_without_openvino_it_is_torch(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manyeyes.backbones.engines.openvino_engine.find_spec", lambda name: None)
    assert isinstance(started(card).encoder, TorchEncoder)
    assert records(card) == []
