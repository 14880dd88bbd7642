import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from manyeyes.backbones.backbone import FINAL, Backbone
from manyeyes.backbones.card import Card, Preprocessing
from manyeyes.backbones.nets import Look

PHOTOS = np.random.default_rng(0).integers(0, 256, (7, 160, 160, 3), dtype=np.uint8)


class Sayer(Backbone):
    """A backbone whose head says ``logits`` of whatever it sees."""

    def __init__(self, logits: np.ndarray | None, labels: str | None = "some") -> None:
        self.card = Card("toy", "local:toy", "toy", 3, Preprocessing(size=8), labels=labels)
        self.encoder = lambda pixels: Look({FINAL: np.ones((len(pixels), 3), np.float32)}, logits)


@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 3), st.integers(1, 40)),
        elements=st.floats(-200, 200, width=32),
    )
)
def test_the_top_labels_are_those_of_torch(logits):
    embedding = Sayer(logits).embed(np.zeros((len(logits), 8, 8, 3), np.uint8))
    probabilities = torch.softmax(torch.from_numpy(logits), dim=1)
    top = probabilities.topk(min(10, logits.shape[1]), dim=1)
    assert embedding.label_index.dtype == np.int16
    assert embedding.label_probability.dtype == np.float32
    np.testing.assert_allclose(embedding.label_probability, top.values, atol=1e-6)
    # Labels of equal probability may stand in any order; each must have the probability that stands beside it.
    beside = np.take_along_axis(probabilities.numpy(), embedding.label_index.astype(int), axis=1)
    np.testing.assert_allclose(beside, top.values, atol=1e-6)
    assert all(len(set(row)) == len(row) for row in embedding.label_index.tolist())


def test_a_head_of_twenty_thousand_labels_fits():
    logits = np.zeros((1, 21_841), np.float32)
    logits[0, 21_840] = 9
    embedding = Sayer(logits).embed(np.zeros((1, 8, 8, 3), np.uint8))
    assert embedding.label_index.shape == (1, 10)
    assert embedding.label_index[0, 0] == 21_840


@pytest.mark.parametrize(("logits", "labels"), [(None, "some"), (None, None), (np.zeros((1, 5), np.float32), None)])
def test_without_head_or_label_space_there_are_no_labels(logits, labels):
    embedding = Sayer(logits, labels).embed(np.zeros((1, 8, 8, 3), np.uint8))
    assert embedding.label_index is None
    assert embedding.label_probability is None


@pytest.mark.parametrize("sizes", [[1] * 7, [3, 4], [6, 1]])
def test_a_photo_is_seen_alike_in_every_batch(tiny_card, sizes):
    backbone = Backbone.load(tiny_card)
    together = backbone.embed(PHOTOS)
    parts = [backbone.embed(batch) for batch in np.split(PHOTOS, np.cumsum(sizes)[:-1])]
    features = np.concatenate([part.blocks[FINAL] for part in parts])
    np.testing.assert_allclose(features, together.blocks[FINAL], atol=1e-5)
    probability = np.concatenate([part.label_probability for part in parts])
    np.testing.assert_allclose(probability, together.label_probability, atol=1e-5)
    assert together.blocks[FINAL].shape == (7, tiny_card.dimension)
    assert together.blocks[FINAL].std(axis=0).max() > 0
