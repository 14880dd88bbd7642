import dataclasses
import hashlib

import numpy as np
import pytest

from manyeyes.backbones.card import IMAGENET_MEAN, IMAGENET_STD, Card
from manyeyes.backbones.nets import FINAL, NETS, Encoder, Look
from manyeyes.backbones.verify import check_reference, photo_for_reference, reference_numbers
from manyeyes.backbones.weights import ensure_weights, weights_folder
from manyeyes.errors import CardError


@pytest.fixture
def encoder(tiny_card: Card) -> Encoder:
    return NETS["timm"]().load(tiny_card, ensure_weights(tiny_card))


@pytest.fixture
def verified(tiny_card: Card, encoder: Encoder) -> Card:
    """The tiny net's card with its reference, rounded as cards write it."""
    return dataclasses.replace(tiny_card, reference=tuple(reference_numbers(tiny_card, encoder).round(5).tolist()))


def test_the_right_card_passes(verified, encoder):
    assert len(verified.reference) == 8
    check_reference(verified, encoder)
    ensure_weights(verified)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mean": IMAGENET_MEAN},
        {"std": IMAGENET_STD},
        {"mean": (0.5, 0.5, 0.45)},
        {"channels": "bgr"},
        {"crop": 0.875},
        {"crop": 1.0},
        {"interpolation": "bicubic"},
        {"interpolation": "nearest"},
        {"size": 128},
    ],
    ids=str,
)
def test_wrong_preprocessing_is_refused(verified, wrong):
    card = dataclasses.replace(verified, preprocessing=dataclasses.replace(verified.preprocessing, **wrong))
    encoder = NETS["timm"]().load(card, weights_folder(card))
    with pytest.raises(CardError, match="tiny: its reference embedding is missed by"):
        check_reference(card, encoder)


def test_wrong_weights_are_refused(verified, encoder):
    weight = next(encoder._net.network.parameters())
    weight.copy_(weight.flip(0))
    with pytest.raises(CardError, match="the weights or the preprocessing are not those of the card"):
        check_reference(verified, encoder)


def test_a_wrong_dimension_is_refused_without_a_reference(tiny_card, encoder):
    wrong = dataclasses.replace(tiny_card, dimension=tiny_card.dimension + 1)
    with pytest.raises(CardError, match=rf"has {tiny_card.dimension} numbers, its card says {wrong.dimension}"):
        check_reference(wrong, encoder)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_an_embedding_that_says_nothing_is_refused(tiny_card, value):
    def dead(pixels: np.ndarray) -> Look:
        return Look({FINAL: np.full((len(pixels), tiny_card.dimension), value, np.float32)}, None)

    with pytest.raises(CardError, match="zero or not finite"):
        check_reference(tiny_card, dead)


def test_weights_that_fail_are_not_kept(verified, own_home):
    wrong = dataclasses.replace(verified, name="wrong", reference=tuple(-number for number in verified.reference))
    for _ in range(2):
        with pytest.raises(CardError, match="wrong: its reference embedding is missed"):
            ensure_weights(wrong)


def test_the_generated_photo_is_always_the_same():
    photo = photo_for_reference()
    assert photo.shape == (240, 320, 3)
    # Every card's reference hangs on these pixels.
    assert hashlib.sha256(photo.tobytes()).hexdigest()[:16] == "71efb867b08bb0a5"
