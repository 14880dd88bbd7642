"""One block as ``auto`` sees it: how far photos are from the landmarks, by a plain metric and by a whitened one."""

from collections.abc import Mapping
from copy import copy
from functools import cached_property

import numpy as np
import numpy.typing as npt

from manyeyes.experts.distance_ridge import Distances, Index
from manyeyes.experts.kernels import Rows, prepare, squared_distances
from manyeyes.experts.leave_out import RowsOfGroups
from manyeyes.experts.within_class import WithinClassMetric

PLAIN, WHITENED = METRICS = ("plain", "whitened")


# Squared distances in one block: of n photos to the m landmarks, (n, m), and where that makes a difference of the
# landmarks to one another as if they were new, (m, m).
Seen = tuple[Rows, ...]


class View:
    """The m landmarks of one block.

    Parameters
    ----------
    landmarks : (m, D) prepared rows, in half precision: a rounding of half a thousandth changes no prediction.
    labels : (m,) indices of their classes.
    tap : where the block is read.
    """

    def __init__(self, landmarks: npt.NDArray[np.float16], labels: Index, tap: str) -> None:
        self.landmarks, self._labels, self._tap = landmarks, labels, tap

    @classmethod
    def of(cls, block: npt.NDArray[np.float32], tap: str, labels: Index, chosen: Index) -> "View":
        """Of the photos (n, D), those ``chosen`` are the landmarks. ``labels`` are all photos' classes, (n,)."""
        return cls(prepare(block[chosen], tap).astype(np.float16), labels[chosen], tap)

    def learn(self, block: npt.NDArray[np.float32], chosen: Index, together: RowsOfGroups) -> dict[str, Seen]:
        """What it was made of, by metric. ``together`` are the landmarks that are left out as one."""
        rows = prepare(block, self._tap)
        rows[chosen] = self.landmarks
        between, as_new = self._whitened.between(together)
        if len(chosen) < len(rows):
            near = self._whitened.to(rows)
            near[chosen] = between
        else:
            near = between
        return {PLAIN: (squared_distances(rows, rows[chosen]),), WHITENED: (near, as_new)}

    def look(self, block: npt.NDArray[np.float32], metric: str) -> Rows:
        """Squared distances of new photos (p, D) to the landmarks: (p, m)."""
        rows = prepare(block, self._tap)
        if metric == WHITENED:
            return self._whitened.to(rows)
        return squared_distances(rows, self.landmarks.astype(np.float32))

    @cached_property
    def _whitened(self) -> WithinClassMetric:
        return WithinClassMetric(self.landmarks.astype(np.float32), self._labels)


class Sight:
    """Some new photos, (p, D) in each block: their distances are found when they are first asked for."""

    def __init__(self, views: Mapping[str, View], blocks: Mapping[str, npt.NDArray[np.float32]]) -> None:
        self._views, self._blocks = views, blocks
        self._known: dict[tuple[str, str], Rows] = {}
        self._silent = ""

    def near(self, name: str, metric: str) -> Rows:
        """Squared distances to the landmarks in one block, (p, m)."""
        if (name, metric) not in self._known:
            self._known[name, metric] = self._views[name].look(self._blocks[name], metric)
        near = self._known[name, metric]
        return np.broadcast_to(near.mean(axis=1, keepdims=True), near.shape) if name == self._silent else near

    def of(self, kept: Index, blocks: Mapping[str, npt.NDArray[np.float32]]) -> "Sight":
        """Only these of the photos, (n,) rising, in these blocks."""
        other = Sight(self._views, blocks)
        # Where all are kept there is nothing to copy.
        other._known = {key: near if len(kept) == len(near) else near[kept] for key, near in self._known.items()}
        return other

    def without(self, name: str) -> "Sight":
        """The same photos, all landmarks as far as each other in this block: it speaks for no class."""
        other = copy(self)
        other._silent = name
        return other


class MeanSeen:
    """The mean over blocks, tap by tap, of what is seen in them. Blocks come one by one: no more than a sum is kept."""

    def __init__(self) -> None:
        self._sums: dict[str, Seen] = {}
        self._counts: dict[str, int] = {}

    def add(self, tap: str, seen: Seen) -> None:
        if tap in self._sums:
            for total, one in zip(self._sums[tap], seen, strict=True):
                total += one
        else:
            self._sums[tap] = tuple(one.copy() for one in seen)
        self._counts[tap] = self._counts.get(tap, 0) + 1

    def distances(self, landmarks: Index) -> Distances:
        """For a ridge, the taps as they first occurred."""
        means = [
            [total / np.float32(count) for total in seen]
            for seen, count in zip(self._sums.values(), self._counts.values(), strict=True)
        ]
        near, *as_new = zip(*means, strict=True)
        return Distances(near, as_new[0] if as_new else None, landmarks)
