"""Let all paths see what the backbone sees, by photos without labels: NTAA-style, stage (i) without supervision."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from manyeyes.adapt.supernet.space import Path
from manyeyes.adapt.supernet.statistics import knowing, looked, matched
from manyeyes.adapt.supernet.tuning import SupernetTask
from manyeyes.adapt.training.task import Batch


class DistillingTask(SupernetTask):
    """Each step takes the full path, the thinnest and some between to what the backbone, which stays as it came, sees
    of the same photos otherwise cut: 1 − cos of their features. Labels are not looked at.

    Early exits, which see something else, are not trained.
    """

    def batch(self, epoch: int, step: int) -> Batch:
        batch = super().batch(epoch, step)
        random = np.random.default_rng([self._recipe.seed, epoch, step, 2])
        other = self.photos.cuttings(self.rows(epoch, step), random, self._recipe.flip, self._recipe.cut)
        return Batch((*batch.inputs, other), batch.labels, batch.domain)

    def loss(self, module: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        framed, other = batch.inputs
        with torch.no_grad(), self.bank.using(None):
            wanted = self.bank.features(other)

        def far() -> Tensor:
            return 1 - cosine_similarity(module(framed, batch.domain).features.float(), wanted.float()).mean()

        network = self.bank.network
        with self.bank.using(self.name):
            whole, moments = looked(network, far)
            loss = whole
            for path in (self.supernet.space.thinnest, *map(self._to_the_end, self._between())):
                with knowing(network, moments), self.supernet.on(path), matched(network):
                    distance = far()
                loss = loss + distance
                self.remembered.note(path, distance - whole)
        return loss, torch.zeros((), dtype=torch.int64)

    def _to_the_end(self, path: Path) -> Path:
        genes = self.supernet.space.genes
        return tuple(0 if gene.kind == "exit" else number for number, gene in zip(path, genes, strict=True))
