"""One backbone, ready to look at photos."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from manyeyes.backbones.card import Card
from manyeyes.backbones.engines.precision import resolve
from manyeyes.backbones.nets import FINAL, NETS, Encoder, FloatArray, Precision, PrecisionChoice, Run
from manyeyes.backbones.second_order import DIMENSION
from manyeyes.backbones.weights import check_undamaged, ensure_weights, weights_bytes, weights_sha256

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

    ``taps`` and ``precision`` are those asked for, as far as the net has them; ``batch_size`` None leaves it to the
    engine. The network is built when it is first needed: photos whose features are cached need none.
    """

    def __init__(
        self,
        card: Card,
        folder: Path,
        taps: Sequence[str] = (FINAL,),
        precision: PrecisionChoice = "fp32",
        engine: str = "torch",
        batch_size: int | None = None,
    ) -> None:
        self.card = card
        self.weights = weights_sha256(card)
        net = NETS[card.net]
        self.taps = tuple(tap for tap in taps if tap in net.taps)
        wanted = resolve(precision, card, engine)
        self.precision: Precision = wanted if wanted in net.precisions else "fp32"
        self.engine = engine
        self.batch_size = batch_size
        self._folder = folder
        self._expected = 0

    @classmethod
    def load(
        cls,
        card: Card,
        accept_undeclared_licence: bool = False,
        taps: Sequence[str] = (FINAL,),
        precision: PrecisionChoice = "fp32",
        engine: str = "torch",
        batch_size: int | None = None,
    ) -> "Backbone":
        """The card's backbone, its weights fetched if need be. Raises what :func:`ensure_weights` raises."""
        return cls(card, ensure_weights(card, accept_undeclared_licence), taps, precision, engine, batch_size)

    @property
    def identity(self) -> tuple[Any, ...]:
        """What is equal for backbones that are the same network, run in the same way."""
        return self.card, self.weights, self.taps, self.precision, self.engine, self.batch_size

    def dimension(self, tap: str) -> int:
        """How many numbers the block of this tap has."""
        return self.card.dimension if tap == FINAL else DIMENSION

    def expect(self, photos: int) -> None:
        """Say how many photos are to come: an engine takes its time to get ready only where that pays.

        A network that was got ready for few is built anew where that pays for so many.
        """
        self._expected = photos
        if self.is_built and photos > self.encoder.enough:
            self.release()

    @property
    def is_built(self) -> bool:
        """Whether the network is held in memory."""
        return "encoder" in self.__dict__

    def release(self) -> None:
        """Give back the memory of the network; it is built anew when it is needed."""
        self.__dict__.pop("encoder", None)

    @property
    def bytes(self) -> int:
        """How large the weights are."""
        return weights_bytes(self._folder)

    @property
    def batch(self) -> int:
        """Photos to embed in one call."""
        return self.encoder.batch

    @cached_property
    def encoder(self) -> Encoder:
        """The network, built once; not from several threads at once.

        Raises ChecksumError for weights that are damaged, or not those that this backbone was loaded with, EngineError
        when the engine cannot run them here.
        """
        check_undamaged(self._folder, self.weights)
        run = Run(self.taps, self.precision, self.engine, self._expected, self.batch_size)
        encoder: Encoder = NETS[self.card.net]().load(self.card, self._folder, run)
        # Once more: what another process put there in the meantime must not bear the name of what was there before.
        check_undamaged(self._folder, self.weights)
        return encoder

    def __getstate__(self) -> dict[str, Any]:
        """Without the network: another process builds its own, and not all of them can be sent."""
        return {name: value for name, value in vars(self).items() if name != "encoder"}

    def embed(self, framed: npt.NDArray[np.uint8]) -> Embedding:
        """Look at photos that were already framed for this card: (B, S, S, 3) uint8 RGB."""
        look = self.encoder(framed)
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
