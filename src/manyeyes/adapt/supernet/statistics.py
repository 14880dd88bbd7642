"""Norms of a batch on paths: the running statistics of the full path are not those of a smaller one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def batch_norms(network: nn.Module) -> list[nn.Module]:
    return [
        one
        for one in network.modules()
        if isinstance(one, nn.modules.batchnorm._BatchNorm) and one.running_mean is not None
    ]


@contextmanager
def by_batch(network: nn.Module) -> Iterator[None]:
    """Norms go by the batch, and remember nothing of it, for the time of a block."""
    with _with(network, training=True, track_running_stats=False):
        yield


@contextmanager
def calibrated(network: nn.Module, look: Callable[[], None]) -> Iterator[None]:
    """Norms go by what ``look`` lets them see, on the mean over its batches, for the time of a block."""
    norms = batch_norms(network)
    kept = [dict(norm._buffers) for norm in norms]
    try:
        for norm in norms:
            norm._buffers |= {name: None if one is None else one.clone() for name, one in norm._buffers.items()}
            norm.reset_running_stats()  # type: ignore[operator]
        with torch.no_grad(), _with(network, training=True, momentum=None):
            look()
        yield
    finally:
        for norm, buffers in zip(norms, kept, strict=True):
            norm._buffers.update(buffers)


@contextmanager
def _with(network: nn.Module, **attributes: Any) -> Iterator[None]:
    norms = batch_norms(network)
    kept = [{name: getattr(norm, name) for name in attributes} for norm in norms]
    try:
        for norm in norms:
            norm.__dict__.update(attributes)
        yield
    finally:
        for norm, before in zip(norms, kept, strict=True):
            norm.__dict__.update(before)
