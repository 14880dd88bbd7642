"""What was seen, gathered until it is worth a file: few large shards are read faster than many small ones."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import numpy as np

from manyeyes.errors import StoreError
from manyeyes.features.shard import Columns
from manyeyes.features.space import Space
from manyeyes.features.store import Store

# How much a killed process can lose at most: so many photos, or so many seconds of work and one chunk.
PHOTOS = 512
SECONDS = 20.0


@dataclass(frozen=True)
class _Gathered:
    space: Space
    photos: list[str] = field(default_factory=list)
    parts: list[Columns] = field(default_factory=list)


class ShardWriter:
    """Gathers rows by space and writes them together. Used in a ``with``, whose end writes the rest, also after an
    error or Ctrl-C: what was finished is kept. Nothing waits longer than ``patience`` (seconds) for the rest."""

    def __init__(self, store: Store, patience: float = SECONDS) -> None:
        self._store = store
        self._patience = patience
        self._gathered: dict[str, _Gathered] = {}
        self._since = time.monotonic()

    def add(self, space: Space, photos: Sequence[str], columns: Columns) -> None:
        """Row i of every column, (n, …), belongs to ``photos[i]``."""
        gathered = self._gathered.setdefault(space.folder, _Gathered(space))
        gathered.photos.extend(photos)
        gathered.parts.append(columns)

    def write_if_due(self) -> None:
        """Write everything when there is enough of it, or when it has been waiting. Raises StoreError."""
        largest = max((len(each.photos) for each in self._gathered.values()), default=0)
        if largest >= PHOTOS or time.monotonic() - self._since >= self._patience:
            self._write()

    def _write(self) -> None:
        for folder, each in list(self._gathered.items()):
            columns = {name: np.concatenate([part[name] for part in each.parts]) for name in each.parts[0]}
            self._store.write(each.space, each.photos, columns)
            del self._gathered[folder]  # not before it is written: Ctrl-C may come at any moment
        self._since = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if not isinstance(error, StoreError):  # a store that has just failed is not tried again
            self._write()
