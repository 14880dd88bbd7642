"""A space's key changes with everything that decides an embedding, and with nothing else."""

import dataclasses
import json

import pytest

from manyeyes.backbones.backbone import Backbone
from manyeyes.backbones.card import HALF, Card, Preprocessing
from manyeyes.backbones.nets import FINAL, SECOND_ORDER, Precision
from manyeyes.features import space
from manyeyes.features.space import THUMBNAILS, Space, embedding_space, space_of

CARD = Card("toy", "local:toy", "toy_net", 3, Preprocessing(size=8, crop=0.9), labels="imagenet-1k")
PREPROCESSING = {
    "size": 9,
    "crop": 0.8,
    "interpolation": "nearest",
    "mean": HALF,
    "std": HALF,
    "channels": "bgr",
}


class Known(Backbone):
    """A backbone of which no more is known than what decides its embeddings."""

    def __init__(self, card: Card = CARD, weights: str = "a", precision: Precision = "fp32") -> None:
        self.card, self.weights, self.precision = card, weights, precision


def key(card: Card = CARD, weights: str = "a", precision: Precision = "fp32", tap: str = FINAL) -> str:
    return embedding_space(Known(card, weights, precision), tap).key


def test_what_decides_an_embedding_changes_the_key():
    assert {field.name for field in dataclasses.fields(Preprocessing)} == PREPROCESSING.keys()
    preprocessings = [dataclasses.replace(CARD.preprocessing, **{k: value}) for k, value in PREPROCESSING.items()]
    keys = [
        key(),
        key(weights="b"),
        key(tap=SECOND_ORDER),
        key(tap="stage2"),
        key(precision="bf16"),
        key(precision="bf16", tap=SECOND_ORDER),
        *(key(dataclasses.replace(CARD, preprocessing=one)) for one in preprocessings),
        *(
            key(dataclasses.replace(CARD, **change))
            for change in ({"net": "onnx"}, {"architecture": "other"}, {"dimension": 4}, {"labels": None})
        ),
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "another"},
        {"source": "local:elsewhere"},
        {"sha256": "0" * 64},
        {"macs": 1.5},
        {"licence": "MIT"},
        {"paper": "a paper"},
        {"reference": (1.0,)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_does_not_leaves_it(change):
    assert key(dataclasses.replace(CARD, **change)) == key()


def test_folders_are_named_for_people_and_by_key():
    assert embedding_space(Known()).folder == f"toy-{key()}"
    assert embedding_space(Known(), SECOND_ORDER).folder == f"toy.second-order-{key(tap=SECOND_ORDER)}"
    assert len(key()) == 16
    assert THUMBNAILS.folder == f"thumbnails-{THUMBNAILS.key}"


def test_a_tap_that_would_come_out_differently_has_another_key(monkeypatch):
    before = key(), key(tap=SECOND_ORDER)
    monkeypatch.setattr(space, "VERSION", space.VERSION + 1)
    assert key() == before[0]
    assert key(tap=SECOND_ORDER) != before[1]


def test_a_record_tells_which_space_its_folder_is():
    for one in (THUMBNAILS, embedding_space(Known()), Space("older", {"weights": "1"}, format=1)):
        assert space_of(one.folder, one.record) == dataclasses.replace(one, content=json.loads(json.dumps(one.content)))
        assert space_of(THUMBNAILS.folder[:-1] + "x", one.record) is None
    for record in (b"", b"\xff", b"[]", b"3", b'{"thumbnail": 64}', b'{"name": 1, "thumbnail": 64}'):
        assert space_of(THUMBNAILS.folder, record) is None
