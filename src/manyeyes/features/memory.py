"""A store for features that nobody will want again: they live as long as it does, and never lie on a disk."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from manyeyes.errors import LackingError
from manyeyes.features.shard import Columns
from manyeyes.features.space import Space

Row = dict[str, npt.NDArray[Any]]


class MemoryStore:
    """As :class:`manyeyes.features.store.FeatureStore`, for a few photos; not for several threads at once."""

    def __init__(self) -> None:
        self._spaces: dict[str, dict[str, Row]] = {}

    def write(self, space: Space, photos: Sequence[str], columns: Columns) -> None:
        """Row i of every column, (n, …), belongs to ``photos[i]``."""
        held = self._spaces.setdefault(space.folder, {})
        for i, photo in enumerate(photos):
            held[photo] = {name: values[i] for name, values in columns.items()}

    def missing(self, space: Space, photos: Sequence[str], verify: bool = True) -> list[str]:
        """Those of ``photos`` that the space does not hold, each once, in order."""
        held = self._spaces.get(space.folder, {})
        return [photo for photo in dict.fromkeys(photos) if photo not in held]

    def read(self, space: Space, photos: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
        """The columns of ``photos``, row i for ``photos[i]``. Raises LackingError when a photo is not there."""
        if lacking := self.missing(space, photos):
            raise LackingError(f"{space.name}: {len(lacking)} of the photos were not looked at")
        rows = [self._spaces[space.folder][photo] for photo in photos]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def gather(self, folder: str) -> None:
        """Nothing lies in small pieces here."""
