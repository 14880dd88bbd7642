"""A mixture of softmax regressions as one torch module, from features (and label vectors) to log-probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, linear

from manyeyes.experts import FloatArray
from manyeyes.experts.panel import ExpertPanel
from manyeyes.features.table import FeatureTable, SourceLabels, backbone_of
from manyeyes.fusion.gradient import Standardised
from manyeyes.gates.gate import Gate
from manyeyes.gates.mixing import Space
from manyeyes.label_space.embedding import TOP, is_label_block, shares


@dataclass(frozen=True)
class Place:
    """Where a backbone's source labels put the photos before V has moved: ``standard`` of v~, (n, d)."""

    labels: SourceLabels
    standard: Standardised


@dataclass(frozen=True)
class Input:
    """What one expert looks at.

    widths : of its blocks. block : these, standardised. place : its place in the label space, when V is trained beneath
    it; one that stays where it is belongs to the block.
    """

    widths: tuple[int, ...]
    block: Standardised
    place: Place | None = None

    @classmethod
    def of(cls, panel: ExpertPanel, names: Sequence[str], table: FeatureTable, trains_vectors: bool) -> "Input":
        """What an expert of the panel on the named blocks looks at."""
        parts = list(panel.parts(names, table).values())
        widths = tuple(part.shape[1] for part in parts)
        if not (trains_vectors and is_label_block(names[0])):
            return cls(widths, Standardised.of(*parts))
        labels = table.source_labels[backbone_of(names[0])]
        return cls(widths, Standardised.of(*parts[1:]), Place(labels, Standardised.of(parts[0])))


class Places(nn.Module):
    """V, and where it puts the photos for M backbones: row numbers (B,) → v~, (B, M, d)."""

    def __init__(self, vectors: npt.NDArray[np.float32], places: Sequence[Place]) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.from_numpy(vectors).clone())
        self._index = torch.from_numpy(np.stack([place.labels.index[:, :TOP] for place in places], axis=1)).long()
        self._shares = torch.from_numpy(np.stack([shares(place.labels) for place in places], axis=1))
        self._mean = torch.from_numpy(np.stack([place.standard.mean for place in places])).float()
        self._scale = torch.from_numpy(np.stack([place.standard.scale for place in places])).float()

    def forward(self, rows: Tensor) -> Tensor:
        index, weights = self._index[rows], self._shares[rows].flatten(0, 1)
        placed: Tensor = embedding_bag(index.flatten(0, 1), self.vectors, per_sample_weights=weights, mode="sum")
        return placed.view(*index.shape[:2], -1)

    def standardised(self, places: Tensor) -> Tensor:
        """Places as the experts see them: (B, M, d)."""
        return (places - self._mean) / self._scale


class JointModel(nn.Module):
    """The mixture as a function of row numbers (B,) → log f, (B, C). ``seen`` is what the gate sees of all rows."""

    def __init__(
        self,
        inputs: Sequence[Input],
        classes: int,
        gate: Gate,
        seen: Tensor,
        space: Space,
        vectors: npt.NDArray[np.float32] | None,
    ) -> None:
        super().__init__()
        self._inputs, self._seen, self._space, self.gate = inputs, seen, space, gate
        self.maps = nn.ParameterList(torch.zeros(classes, len(one.block.mean)) for one in inputs)
        self.biases = nn.ParameterList(torch.zeros(classes) for _ in inputs)
        # Of the experts whose place in the label space moves, by their number.
        moving = {k: one.place for k, one in enumerate(inputs) if one.place is not None}
        self._moving = list(moving)
        self.place_maps = nn.ParameterList(torch.zeros(classes, len(one.standard.mean)) for one in moving.values())
        self.places: Places | None = None
        if moving and vectors is not None:
            self.places = Places(vectors, list(moving.values()))
            starts = np.cumsum([0, *gate.widths])[self._moving]
            self._columns = torch.from_numpy((starts[:, None] + np.arange(vectors.shape[1])).ravel())

    def forward(self, rows: Tensor) -> Tensor:
        logits = [
            linear(one.block.rows[rows], map_, bias)
            for one, map_, bias in zip(self._inputs, self.maps, self.biases, strict=True)
        ]
        seen = self._seen[rows]
        if self.places is not None:
            places = self.places(rows)
            seen = self.gate.with_columns(seen, self._columns, places.flatten(1))
            standard = self.places.standardised(places)
            for m, k in enumerate(self._moving):
                logits[k] = logits[k] + linear(standard[:, m], self.place_maps[m])
        log_proba = torch.log_softmax(torch.stack(logits, dim=1), dim=2)
        log_weights = self.gate(seen)
        if self._space == "log":
            return torch.log_softmax(torch.einsum("bk,bkc->bc", log_weights.exp(), log_proba), dim=1)
        return torch.logsumexp(log_weights[:, :, None] + log_proba, dim=1)

    @torch.no_grad()
    def set_expert(self, k: int, coef: FloatArray, intercept: FloatArray) -> None:
        """Let the k-th expert be ``softmax(coef x + intercept)`` of raw columns, (C, D) and (C,)."""
        one = self._inputs[k]
        if one.place is not None:
            standard = one.place.standard
            of_place, coef = np.split(coef, [len(standard.mean)], axis=1)
            self.place_maps[self._moving.index(k)].copy_(torch.from_numpy(of_place * standard.scale))
            intercept = intercept + of_place @ standard.mean
        self.maps[k].copy_(torch.from_numpy(coef * one.block.scale))
        self.biases[k].copy_(torch.from_numpy(intercept + coef @ one.block.mean))

    def expert(self, k: int) -> tuple[FloatArray, FloatArray]:
        """coef and intercept of the k-th expert, as :meth:`set_expert` takes them."""
        one = self._inputs[k]
        coef: FloatArray = self.maps[k].detach().double().numpy() / one.block.scale
        intercept: FloatArray = self.biases[k].detach().double().numpy() - coef @ one.block.mean
        if one.place is not None:
            standard = one.place.standard
            of_place = self.place_maps[self._moving.index(k)].detach().double().numpy() / standard.scale
            intercept = intercept - of_place @ standard.mean
            coef = np.concatenate([of_place, coef], axis=1)
        return coef, intercept
