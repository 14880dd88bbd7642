"""A card is verified by a reference embedding: a few numbers for a generated photo, so that wrong weights or wrong
preprocessing (mean, std, channel order, crop, interpolation) cannot pass."""

import numpy as np
import numpy.typing as npt
import scipy.fft

from manyeyes.backbones.card import Card
from manyeyes.backbones.nets import FINAL, Encoder
from manyeyes.backbones.preprocess import frame
from manyeyes.errors import CardError
from manyeyes.images.colour import Pixels

NUMBERS = 8
# Builds of torch and kinds of processor differ in the sixth digit; a wrong interpolation differs in the third.
TOLERANCE = 5e-4


def photo_for_reference() -> Pixels:
    """A generated photo, 320 × 240: smooth colour, fine stripes and hard edges, different in every channel."""
    y, x = np.mgrid[0:240, 0:320].astype(np.float64)
    red = 255 * x / 319
    green = 127.5 + 127.5 * np.sin(x / 3 + y / 5)
    blue = np.where((x - 200) ** 2 + (y - 100) ** 2 < 60**2, 230.0, 255 * y / 239 / 2)
    return np.stack([red, green, blue], axis=-1).round().astype(np.uint8)


def reference_numbers(card: Card, encoder: Encoder) -> npt.NDArray[np.float64]:
    """The first cosine coefficients of the generated photo's L2-normalised embedding: (8,). All D entries count."""
    framed = frame(photo_for_reference(), *card.preprocessing.framing)[None]
    features = encoder(framed).blocks[FINAL][0].astype(np.float64)
    if len(features) != card.dimension:
        raise CardError(f"{card.name}: the embedding has {len(features)} numbers, its card says {card.dimension}")
    if not np.isfinite(features).all() or not features.any():
        raise CardError(f"{card.name}: the embedding of an ordinary photo is zero or not finite")
    numbers: npt.NDArray[np.float64] = scipy.fft.dct(features / np.linalg.norm(features), norm="ortho")[:NUMBERS]
    return numbers


def check_reference(card: Card, encoder: Encoder) -> None:
    """Raise CardError when the embedding has another length than the card says, or is not its reference one."""
    numbers = reference_numbers(card, encoder)
    distance = np.abs(numbers[: len(card.reference)] - np.asarray(card.reference)).max(initial=0.0)
    if distance > TOLERANCE:
        raise CardError(
            f"{card.name}: its reference embedding is missed by {distance:.2g} (allowed {TOLERANCE:g}): "
            "the weights or the preprocessing are not those of the card"
        )
