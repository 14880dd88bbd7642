"""Norms of a batch on paths: the running statistics of the full path are not those of a smaller one.

Nor are those of the few photos at hand, which are other photos than those that the network came from: norms that go by
them make other features than all that was learnt is about. So norms on a path are to give what they give on the full
path, on the mean and in spread, channel by channel. With m and s the mean and standard deviation of what a norm is
given of some photos on the path, M and S those on the full path, it takes (x − m) S / s + M by the statistics that it
came with. On the full path that is x.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

Made = TypeVar("Made")
# What norms are given, by their names: mean and variance of each channel, two of (C,).
Moments = dict[str, tuple[Tensor, Tensor]]
KNOWN = "full_mean", "full_variance"


def batch_norms(network: nn.Module) -> dict[str, nn.Module]:
    """Those with running statistics, by dotted name."""
    return {
        name: one
        for name, one in network.named_modules()
        if isinstance(one, nn.modules.batchnorm._BatchNorm) and one.running_mean is not None
    }


def looked(network: nn.Module, look: Callable[[], Made]) -> tuple[Made, Moments]:
    """What a look on the full path comes to, and what norms are given meanwhile."""
    moments: Moments = {}

    def note(name: str) -> Callable[[Any, tuple[Tensor, ...]], None]:
        def of(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
            with torch.no_grad():
                moments[name] = _moments(given[0])

        return of

    handles = [norm.register_forward_pre_hook(note(name)) for name, norm in batch_norms(network).items()]
    try:
        return look(), moments
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def knowing(network: nn.Module, moments: Moments) -> Iterator[None]:
    """For the time of a block norms know what they were given on the full path."""
    norms = batch_norms(network)
    try:
        for name, found in moments.items():
            # As buffers, so that a path cuts them with the rest of the norm.
            norms[name]._buffers |= dict(zip(KNOWN, found, strict=True))
        yield
    finally:
        for norm in norms.values():
            for key in KNOWN:
                norm._buffers.pop(key, None)


@contextmanager
def matched(network: nn.Module) -> Iterator[None]:
    """For the time of a block norms, which know the full path, go by the batch. Gradients go through its statistics."""

    def match(norm: Any, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        spread = (norm.full_variance + norm.eps).sqrt()
        if given[0].numel() == len(spread):  # one value a channel is its own mean
            return (norm.full_mean.view_as(given[0]),)
        return (batch_norm(given[0], None, None, spread, norm.full_mean, training=True, eps=norm.eps),)

    with _before(network, match):
        yield


@contextmanager
def calibrated(network: nn.Module, look: Callable[[], Any]) -> Iterator[None]:
    """For the time of a block norms have statistics of their own, by which they do the same for every photo: from a
    look on the path at the photos that they know the full path by."""

    def calibrate(norm: Any, given: tuple[Tensor, ...]) -> None:
        mean, variance = _moments(given[0])
        ratio = (variance + norm.eps) / (norm.full_variance + norm.eps)
        norm._buffers["running_mean"] = mean - (norm.full_mean - norm.running_mean) * ratio.sqrt()
        norm._buffers["running_var"] = ((norm.running_var + norm.eps) * ratio - norm.eps).clamp(min=0)

    norms = batch_norms(network).values()
    kept = [dict(norm._buffers) for norm in norms]
    try:
        with torch.no_grad(), _before(network, calibrate):
            look()
        yield
    finally:
        for norm, buffers in zip(norms, kept, strict=True):
            norm._buffers.update(buffers)


def _moments(given: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel: two of (C,)."""
    given, others = given.float(), [0, *range(2, given.ndim)]
    mean = given.mean(dim=others, keepdim=True)
    # Many times faster than Tensor.var on channels that lie last.
    return mean.flatten(), (given - mean).square_().mean(dim=others)


@contextmanager
def _before(network: nn.Module, listen: Callable[[Any, tuple[Tensor, ...]], Any]) -> Iterator[None]:
    handles = [norm.register_forward_pre_hook(listen) for norm in batch_norms(network).values()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
