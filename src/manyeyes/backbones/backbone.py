"""One backbone, ready to look at photos."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from manyeyes.backbones.card import Card
from manyeyes.backbones.nets import NETS, Encoder, FloatArray
from manyeyes.backbones.preprocess import normalise
from manyeyes.backbones.weights import check_undamaged, ensure_weights, weights_sha256

TOP_LABELS = 10
# The tap that every backbone has: the pooled features just before its source head.
FINAL = "final"


@dataclass(frozen=True)
class Embedding:
    """What one backbone says of B photos.

    blocks : tap → (B, D) float32.
    label_index, label_probability : the ten most probable source labels (all of them when there are fewer),
        (B, 10) int16 and float32, or None.
    """

    blocks: dict[str, FloatArray]
    label_index: npt.NDArray[np.int16] | None
    label_probability: FloatArray | None


class Backbone:
    """A card whose weights are on this machine. ``framed`` photos go in, an :class:`Embedding` comes out.

    The network is built when it is first needed: photos whose features are cached need none.
    """

    def __init__(self, card: Card, folder: Path) -> None:
        self.card = card
        self.weights = weights_sha256(card)
        self._folder = folder

    @classmethod
    def load(cls, card: Card, accept_undeclared_licence: bool = False) -> "Backbone":
        """The card's backbone, its weights fetched if need be. Raises what :func:`ensure_weights` raises."""
        return cls(card, ensure_weights(card, accept_undeclared_licence))

    @cached_property
    def encoder(self) -> Encoder:
        """The network, built once; not from several threads at once. Raises ChecksumError for damaged weights."""
        check_undamaged(self._folder)
        encoder: Encoder = NETS[self.card.net]().load(self.card, self._folder)
        return encoder

    def embed(self, framed: npt.NDArray[np.uint8]) -> Embedding:
        """Look at photos that were already framed for this card: (B, S, S, 3) uint8 RGB."""
        look = self.encoder(normalise(framed, self.card.preprocessing))
        if look.logits is None or self.card.labels is None:
            return Embedding({FINAL: look.features}, None, None)
        return Embedding({FINAL: look.features}, *_top_labels(look.logits))


def _top_labels(logits: FloatArray) -> tuple[npt.NDArray[np.int16], FloatArray]:
    """The softmax of (B, L) logits, its ten largest entries in falling order."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    index = np.argsort(-probabilities, axis=1, kind="stable")[:, :TOP_LABELS]
    return index.astype(np.int16), np.take_along_axis(probabilities, index, axis=1)
