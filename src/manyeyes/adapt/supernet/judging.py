"""How good a path is: as it is tuned, or by the features alone that it gives."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from manyeyes.adapt.adapting import Course
from manyeyes.adapt.supernet.space import Path
from manyeyes.adapt.supernet.statistics import Moments, batch_norms, calibrated, knowing, looked
from manyeyes.adapt.supernet.supernet import Supernet
from manyeyes.adapt.tasks.objective import UNLABELLED, Score
from manyeyes.adapt.training.task import features, score

# Photos that the norms of a path go by, looked at in one go.
LOOKED_AT = 128
# What a ridge regression may cost, of which it chooses one by leaving out each photo in turn.
PENALTIES = tuple(10.0**power for power in range(-1, 5))
# Of what it says of a class, in shares: not sure enough to ever cost everything.
LEAST = 1e-3


class PathJudge:
    """Judges paths of a supernet, which is no longer trained, by the held-out photos of a course.

    Norms on a path go by some of the photos that the course trains on (:mod:`manyeyes.adapt.supernet.statistics`).
    """

    def __init__(self, supernet: Supernet, course: Course) -> None:
        self.supernet, self.course = supernet, course

    def score(self, path: Path) -> Score:
        """By the heads that were tuned with the paths."""
        course, name = self.course, self.supernet.name
        assert name is not None
        with self.on(path):
            return score(self.supernet.bank, name, course.photos, course.held, course.objective)

    def score_linearly(self, path: Path) -> Score:
        """By what a ridge regression says, on features of the labelled photos that the course trains on.

        It wants no head that was tuned, and so may judge paths that have seen no label.
        """
        course, photos = self.course, self.course.photos
        train = course.train[photos.labels[course.train] != UNLABELLED]
        with self.on(path):
            seen, held = (
                features(self.supernet.bank, self.supernet.name, photos, rows) for rows in (train, course.held)
            )
        shares = torch.ones(len(held), len(photos.classes))
        if course.objective.goes_by_logits:
            wanted = np.eye(len(photos.classes))[photos.labels[train]]
            ridge = make_pipeline(StandardScaler(), RidgeCV(PENALTIES)).fit(seen.double().numpy(), wanted)
            shares = torch.from_numpy(ridge.predict(held.double().numpy())).clamp(min=LEAST)
        return course.objective.score(held, shares.log(), torch.from_numpy(photos.labels[course.held]))

    def statistics(self, path: Path) -> dict[str, Tensor]:
        """Running statistics for the path by itself, as a state of its network."""
        with self.on(path):
            return {
                f"{name}.{key}": norm.get_buffer(key).clone()
                for name, norm in batch_norms(self.supernet.bank.network).items()
                for key in ("running_mean", "running_var")
            }

    @contextmanager
    def on(self, path: Path) -> Iterator[None]:
        """The bank sees by a path, its norms calibrated, for the time of a block."""
        bank, name = self.supernet.bank.eval(), self.supernet.name
        if path == self.supernet.space.full or not self._moments:  # the statistics that it has, or none
            with self.supernet.on(path):
                yield
            return
        known = self._moments
        with (
            bank.using(name),
            knowing(bank.network, known),
            self.supernet.on(path),
            calibrated(bank.network, self._look),
        ):
            yield

    @cached_property
    def _moments(self) -> Moments:
        with self.supernet.on(self.supernet.space.full):
            return looked(self.supernet.bank.eval().network, self._look)[1]

    def _look(self) -> None:
        bank, rows = self.supernet.bank, np.random.default_rng(0).permutation(self.course.train)[:LOOKED_AT]
        with torch.no_grad():
            bank.features(self.course.photos.centres(rows).to(bank.device))
