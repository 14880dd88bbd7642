"""A tiny net with both taps, and what torch in float32 sees with it."""

import dataclasses

import numpy as np
import pytest

from manyeyes.backbones.backbone import FINAL, Backbone, Embedding
from manyeyes.backbones.card import IMAGENET_MEAN, IMAGENET_STD, Card, Preprocessing
from manyeyes.backbones.nets import SECOND_ORDER
from manyeyes.backbones.second_order import tap

BOTH = (FINAL, SECOND_ORDER)


@pytest.fixture(autouse=True)
def few_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap, "PHOTOS", 5)
    monkeypatch.setattr(tap, "BATCH", 5)


@pytest.fixture
def card(tiny_card: Card) -> Card:
    preprocessing = Preprocessing(size=64, mean=IMAGENET_MEAN, std=IMAGENET_STD, channels="bgr")
    return dataclasses.replace(tiny_card, preprocessing=preprocessing)


@pytest.fixture
def photos() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)


@pytest.fixture
def truth(card: Card, photos: np.ndarray) -> Embedding:
    return Backbone.load(card, taps=BOTH).embed(photos)
