"""One backbone, ready to look at photos."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from manyeyes.backbones.card import Card
from manyeyes.backbones.nets import FINAL, NETS, Encoder, FloatArray, Precision
from manyeyes.backbones.preprocess import normalise
from manyeyes.backbones.second_order import DIMENSION
from manyeyes.backbones.weights import check_undamaged, ensure_weights, weights_sha256

TOP_LABELS = 10


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

    ``taps`` and ``precision`` are those asked for, as far as the net has them. The network is built when it is first
    needed: photos whose features are cached need none.
    """

    def __init__(self, card: Card, folder: Path, taps: Sequence[str] = (FINAL,), precision: Precision = "fp32") -> None:
        self.card = card
        self.weights = weights_sha256(card)
        net = NETS[card.net]
        self.taps = tuple(tap for tap in taps if tap in net.taps)
        self.precision: Precision = precision if precision in net.precisions else "fp32"
        self._folder = folder

    @classmethod
    def load(
        cls,
        card: Card,
        accept_undeclared_licence: bool = False,
        taps: Sequence[str] = (FINAL,),
        precision: Precision = "fp32",
    ) -> "Backbone":
        """The card's backbone, its weights fetched if need be. Raises what :func:`ensure_weights` raises."""
        return cls(card, ensure_weights(card, accept_undeclared_licence), taps, precision)

    def dimension(self, tap: str) -> int:
        """How many numbers the block of this tap has."""
        return self.card.dimension if tap == FINAL else DIMENSION

    @cached_property
    def encoder(self) -> Encoder:
        """The network, built once; not from several threads at once. Raises ChecksumError for damaged weights."""
        check_undamaged(self._folder)
        encoder: Encoder = NETS[self.card.net]().load(self.card, self._folder, self.taps, self.precision)
        return encoder

    def embed(self, framed: npt.NDArray[np.uint8]) -> Embedding:
        """Look at photos that were already framed for this card: (B, S, S, 3) uint8 RGB."""
        look = self.encoder(normalise(framed, self.card.preprocessing))
        if look.logits is None or self.card.labels is None:
            return Embedding(look.blocks, None, None)
        return Embedding(look.blocks, *_top_labels(look.logits))


def _top_labels(logits: FloatArray) -> tuple[npt.NDArray[np.int16], FloatArray]:
    """The softmax of (B, L) logits, its ten largest entries in falling order."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    index = np.argsort(-probabilities, axis=1, kind="stable")[:, :TOP_LABELS]
    return index.astype(np.int16), np.take_along_axis(probabilities, index, axis=1)
