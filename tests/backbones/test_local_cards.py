"""Cards that a user writes beside weights of their own."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from manyeyes.backbones.backbone import FINAL, Backbone
from manyeyes.backbones.card import Card
from manyeyes.backbones.weights import ensure_weights
from manyeyes.backbones.zoo import read_zoo
from manyeyes.errors import CardError, ChecksumError, FetchError

PHOTOS = np.random.default_rng(0).integers(0, 256, (1, 160, 160, 3), dtype=np.uint8)


def write_card(folder: Path, card: Card, source: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "card.json").write_text(json.dumps(card.to_dict() | {"source": source}))


@pytest.mark.parametrize("name", ["net", "net #2", "a:b"])
def test_a_folder_is_a_backbone_wherever_it_lies(tmp_path, tiny_card, tiny_model, name, monkeypatch):
    folder = tmp_path / name
    write_card(folder, tiny_card, "local:weights/w.safetensors")
    (folder / "weights").mkdir()
    save_file(tiny_model.state_dict(), folder / "weights" / "w.safetensors")
    monkeypatch.chdir(tmp_path)
    (relative,), (absolute,) = read_zoo(f"local:{name}"), read_zoo(f"local:{folder}")
    assert relative == absolute
    embedding = Backbone.load(relative).embed(PHOTOS)
    assert embedding.blocks[FINAL].shape == (1, tiny_card.dimension)
    folder.rename(tmp_path / "elsewhere")
    again = Backbone.load(*read_zoo("local:elsewhere"))
    np.testing.assert_array_equal(again.embed(PHOTOS).blocks[FINAL], embedding.blocks[FINAL])


def test_an_absolute_source_stays_as_it_is(tmp_path, tiny_card):
    write_card(tmp_path, tiny_card, tiny_card.source)
    assert read_zoo(f"local:{tmp_path}") == (tiny_card,)


def test_the_source_may_lie_elsewhere_than_the_card(tmp_path, tiny_card):
    write_card(tmp_path, tiny_card, "wheel:toy==1.0#w.pth")
    assert read_zoo(f"local:{tmp_path}")[0].source == "wheel:toy==1.0#w.pth"


def test_a_missing_folder_and_a_missing_file_are_named(tmp_path, tiny_card):
    with pytest.raises(CardError, match=r"no card can be read from .*card\.json"):
        read_zoo(f"local:{tmp_path}")
    write_card(tmp_path, tiny_card, "local:gone.safetensors")
    with pytest.raises(FetchError, match=r"no weight file at .*gone\.safetensors"):
        ensure_weights(*read_zoo(f"local:{tmp_path}"))


def test_a_checksum_is_kept_to(tiny_card):
    with pytest.raises(ChecksumError, match="is not the file its card names"):
        ensure_weights(Card(**{**vars(tiny_card), "sha256": "0" * 64}))


def test_a_torch_file_with_foreign_names_is_read_by_order(tmp_path, tiny_card, tiny_model):
    path = tmp_path / "w.pth"
    torch.save({f"net.{i}": tensor for i, tensor in enumerate(tiny_model.state_dict().values())}, path)
    card = Card(**{**vars(tiny_card), "source": f"local:{path}"})
    expected = Backbone.load(tiny_card).embed(PHOTOS).blocks[FINAL]
    np.testing.assert_array_equal(Backbone.load(card).embed(PHOTOS).blocks[FINAL], expected)


def test_weights_of_another_shape_are_refused(tmp_path, tiny_card):
    path = tmp_path / "w.pth"
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(CardError, match="tiny"):
        ensure_weights(Card(**{**vars(tiny_card), "source": f"local:{path}"}))


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("writer", [torch.save, lambda bomb, path: path.write_bytes(pickle.dumps(bomb, protocol=2))])
def test_a_hostile_pickle_is_refused_and_not_run(tmp_path, tiny_card, writer):
    path, trace = tmp_path / "w.pth", tmp_path / "was_run"
    writer({"conv1.weight": Bomb(trace)}, path)
    with pytest.raises(CardError, match=r"w\.pth cannot be read as weights"):
        ensure_weights(Card(**{**vars(tiny_card), "source": f"local:{path}"}))
    assert not trace.exists()
    torch.load(path, weights_only=False) if writer is torch.save else pickle.loads(path.read_bytes())
    assert trace.exists()  # the pickle is hostile indeed
