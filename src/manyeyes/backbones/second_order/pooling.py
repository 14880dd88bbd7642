"""Second-order pooling of an inner map: channels are projected to 64, and the square root is taken of their moments.

For the positions x_i of a map: S = mean_i (P x_i)(P x_i)ᵀ, its matrix square root, the upper triangle with entries off
the diagonal times √2 (so that lengths and distances are those of the matrices), scaled to length one: 2,080 numbers.
Second-order pooling with a matrix power is MPN-COV's (Li et al., 2017, arXiv 1703.08050).

P holds the principal directions of the map's channels, divided by the fourth root of their variance: large ones are
tamed and small ones still count. It is learnt once for each backbone, from generated photos, and kept with its weights.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from manyeyes.backbones.second_order import CHANNELS

POWER = -0.25


def learn_projection(maps: Iterable[Tensor]) -> Tensor:
    """P, (64, C), from maps (B, C, positions). Nets of fewer than 64 channels keep the rows that are left at zero."""
    count, total, moment = 0, torch.zeros(()), torch.zeros(())
    for each in maps:
        rows = each.double().transpose(1, 2).flatten(0, 1)
        count += len(rows)
        total = total + rows.sum(dim=0)
        moment = moment + rows.T @ rows
    mean = total / count
    variances, directions = torch.linalg.eigh(moment / count - torch.outer(mean, mean))
    # Directions along which nothing varies say nothing.
    kept = (variances > 1e-9 * variances[-1]).nonzero().flatten()[-CHANNELS:].flip(0)
    directions = directions[:, kept]
    # Which way a direction points is the library's whim, and models go from machine to machine.
    directions *= directions.gather(0, directions.abs().argmax(dim=0, keepdim=True)).sign()
    projection = torch.zeros(CHANNELS, len(mean))
    projection[: len(kept)] = (directions * variances[kept] ** POWER).T.float()
    return projection


def moments(maps: Tensor, projection: Tensor) -> Tensor:
    """The second moments, (B, 64, 64) float32, of projected maps (B, C, positions)."""
    projected = projection @ maps.float()
    return projected @ projected.transpose(1, 2) / projected.shape[2]


def block_of_moments(moments: Tensor) -> Tensor:
    """The second-order block, (B, 2080) float32, of moments (B, 64, 64): the triangle of their matrix square root."""
    variances, directions = torch.linalg.eigh(moments)
    roots = (directions * variances.clamp(min=0).sqrt()[:, None, :]) @ directions.transpose(1, 2)
    row, column = torch.triu_indices(CHANNELS, CHANNELS, device=roots.device)
    weight = torch.where(row == column, 1.0, 2.0**0.5)
    return torch.nn.functional.normalize(roots[:, row, column] * weight)
