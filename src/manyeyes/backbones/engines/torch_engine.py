"""torch on the CPU: every pass on the core of the thread that asks for it."""

import shutil
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from manyeyes.backbones.engines import Job
from manyeyes.backbones.nets import Encoder, Look, Pixels, Precision
from manyeyes.backbones.nets.whole import WholeNet, look_of
from manyeyes.progress import waiting
from manyeyes.threads import one_thread

BATCH = 16
# What compiling a network takes on one core, and how much faster it then is at least; both measured on ResNet-50,
# MobileNetV2 and Inception-v3.
COMPILING_SECONDS = 45.0
GAIN = 0.4
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


class TorchEngine:
    """Weights cast once and kept channels last; compiled when there are so many photos that it pays."""

    def why_not(self) -> str:
        return ""

    def start(self, job: Job) -> Encoder:
        net = job.build().ready(DTYPES[job.run.precision])
        if _pays(net, job):
            with waiting(f"compiling {job.name}"):
                return TorchEncoder(compiled(net, job.size))
        return TorchEncoder(net)


class TorchEncoder:
    """A network as a function of arrays."""

    def __init__(self, net: Callable[[Tensor], dict[str, Tensor]], batch: int = BATCH) -> None:
        self.batch = batch
        self._net = net

    @torch.inference_mode()
    def __call__(self, framed: Pixels) -> Look:
        # torch has no tensors that must not be written; an array that must not be is copied.
        return look_of(self._net(torch.from_numpy(np.require(framed, requirements="W"))))


def compiled(net: WholeNet, size: int) -> Callable[[Tensor], dict[str, Tensor]]:
    """The network compiled by torch for batches of one size; what it is given is filled up to that."""
    function = torch.compile(net, dynamic=False, options={"freezing": True})

    def run(framed: Tensor) -> dict[str, Tensor]:
        missing = BATCH - len(framed)
        filled = torch.cat([framed, framed[-1:].expand(missing, -1, -1, -1)]) if missing else framed
        return {name: values[: len(framed)] for name, values in function(filled).items()}

    with torch.inference_mode():
        run(torch.zeros(BATCH, size, size, 3, dtype=torch.uint8))
    return run


def _pays(net: WholeNet, job: Job) -> bool:
    """Whether the photos to come take so long that compiling is made up for twice over."""
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        return False
    photo = torch.from_numpy(np.zeros((1, job.size, job.size, 3), np.uint8))
    with torch.inference_mode(), one_thread():  # as every pass runs
        net(photo)
        start = time.perf_counter()
        net(photo)
    return job.run.photos * (time.perf_counter() - start) * GAIN > 2 * COMPILING_SECONDS
