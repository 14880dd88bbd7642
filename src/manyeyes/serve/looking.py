"""The model's answer about photos that are no files: neither they nor what backbones saw of them touch a disk."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from manyeyes.asking import ROOM
from manyeyes.backbones.backbone import Backbone
from manyeyes.features.darkroom import Darkroom
from manyeyes.features.extract import Extraction, extract
from manyeyes.features.memory import MemoryStore
from manyeyes.home import network_off
from manyeyes.images import Rejected
from manyeyes.predictions import Prediction, predictions

if TYPE_CHECKING:
    from manyeyes.classifier import ManyEyesClassifier

# The networks are built as it pays for so many photos: a server sees more than one.
MANY = 1000


class Looking:
    """A model, asked about the bytes of photos."""

    def __init__(self, model: "ManyEyesClassifier", max_pixels: int) -> None:
        self._model, self._max_pixels = model, max_pixels

    def get_ready(self) -> None:
        """Build the networks, so that nobody waits for them. Raises LicenceError and BundleError."""
        self._model.get_ready(MANY)

    def __call__(self, photos: Sequence[bytes]) -> list[Prediction | Rejected]:
        """The outcome for each photo; ``path`` is its number. All else is forgotten on return."""
        held = {str(number): photo for number, photo in enumerate(photos)}
        darkroom, store = Darkroom(ROOM, held.__getitem__, self._max_pixels), MemoryStore()

        def look(names: Sequence[str], backbones: Sequence[Backbone], _: Darkroom | None) -> Extraction:
            with network_off(self._model.offline):
                return extract(names, backbones, store, darkroom)

        return predictions(self._model, list(held), look)
