"""Nets of timm with two heads: one taught by labels, one by another net."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from manyeyes.backbones.backbone import FINAL, Backbone
from manyeyes.backbones.card import Card
from manyeyes.backbones.describe import describe_timm
from manyeyes.backbones.nets import NETS
from manyeyes.backbones.preprocess import normalise
from manyeyes.backbones.timm_import import timm
from manyeyes.errors import CardError

DISTILLED = "deit_tiny_distilled_patch16_224"


@pytest.fixture(scope="module")
def card() -> Card:
    return describe_timm(DISTILLED)


def test_a_net_with_two_heads_is_described_without_labels(card: Card) -> None:
    assert (card.labels, card.dimension) == (None, 192)
    assert describe_timm("test_vit").labels == "imagenet-1k"


def test_a_net_with_two_heads_gives_what_stands_before_them(card: Card, tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model(DISTILLED, pretrained=False).eval()
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    backbone = Backbone.load(dataclasses.replace(card, source=f"local:{tmp_path / 'w.safetensors'}"))
    photos = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    with torch.inference_mode():
        tokens = model.forward_features(torch.from_numpy(normalise(photos, card.preprocessing)))
    embedding = backbone.embed(photos)
    np.testing.assert_allclose(embedding.blocks[FINAL], tokens[:, :2].mean(dim=1), atol=1e-5)
    assert embedding.label_index is None


def test_labels_of_a_net_with_two_heads_are_refused(card: Card) -> None:
    with pytest.raises(CardError, match="deit_tiny_distilled_patch16_224 has two heads, so its card wants no labels"):
        NETS[card.net]().build(dataclasses.replace(card, labels="imagenet-1k"))
