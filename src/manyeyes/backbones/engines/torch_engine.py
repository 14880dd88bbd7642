"""torch on the CPU: every pass on the core of the thread that asks for it."""

import logging
import math
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
from manyeyes.threads import cores, one_thread

log = logging.getLogger(__name__)

# More do not fit the caches: a pass over sixteen takes a tenth to a half longer for each photo (MobileNetV2, ResNet-50,
# Xception, VGG-16).
BATCH = 4
# What compiling a network takes on one core, and what share of a pass it saves at least (of MobileNetV2's in bfloat16
# it saves a half); both measured on ResNet-50 and MobileNetV2 in both precisions.
COMPILING_SECONDS = 15.0
GAIN = 0.2
# Networks that one process may have compiled: to torch they are versions of one function, of which it keeps eight.
MANY = 256
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}

Run = Callable[[Tensor], dict[str, Tensor]]


class TorchEngine:
    """Weights cast once and kept channels last; compiled when there are so many photos that it pays."""

    def why_not(self) -> str:
        return ""

    def start(self, job: Job) -> Encoder:
        net = job.build().ready(DTYPES[job.run.precision])
        batch = job.run.batch or BATCH
        enough = _compiling_pays_after(net, job.size)
        if job.run.photos <= enough:
            return TorchEncoder(net, batch, enough)
        with one_thread():  # as every pass runs: for another number of threads, torch would compile again
            return TorchEncoder(compiled(net, job, batch), batch)


class TorchEncoder:
    """A network as a function of arrays."""

    def __init__(self, net: Run, batch: int = BATCH, enough: float = math.inf) -> None:
        self.batch = batch
        self.enough = enough
        self._net = net

    @torch.inference_mode()
    def __call__(self, framed: Pixels) -> Look:
        # torch has no tensors that must not be written; an array that must not be is copied.
        return look_of(self._net(torch.from_numpy(np.require(framed, requirements="W"))))


def compiled(net: WholeNet, job: Job, batch: int, device: str = "cpu") -> Run:
    """The network compiled by torch for batches of one size: what it is given is cut into them, and the last filled up.

    Where torch cannot compile, for want of a compiler that works, the network as it is.
    """
    from torch._dynamo import config as dynamo
    from torch._inductor import config as inductor  # a second to load, for what is seldom wanted

    function = torch.compile(net, dynamic=False)

    def run(framed: Tensor) -> dict[str, Tensor]:
        parts = [run_part(framed[start : start + batch]) for start in range(0, len(framed), batch)]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def run_part(framed: Tensor) -> dict[str, Tensor]:
        missing = batch - len(framed)
        filled = torch.cat([framed, framed[-1:].expand(missing, -1, -1, -1)]) if missing else framed
        return {name: values[: len(framed)] for name, values in function(filled).items()}

    many = dynamo.patch(recompile_limit=MANY)
    # Weights as constants, laid out once. (As an option of torch.compile it comes too late, and does nothing.)
    freezing = inductor.patch(freezing=True)
    with waiting(f"compiling {job.name}"), torch.inference_mode(), many, freezing:
        # Made here, as those of every pass are: tensors made outside of inference mode are of another kind to torch.
        photos = torch.zeros(batch, job.size, job.size, 3, dtype=torch.uint8, device=device)
        try:
            run(photos)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # of the compiler, of the linker, of torch itself: of any kind
            why = " ".join(str(error).split())[:200]
            log.warning("torch cannot compile %s, which runs as it is, slower: %s", job.name, why)
            return net
    return run


def _compiling_pays_after(net: WholeNet, size: int) -> float:
    """How many photos take so long that compiling is made up for twice over."""
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        return math.inf
    photo = torch.zeros(1, size, size, 3, dtype=torch.uint8)
    with torch.inference_mode(), one_thread():  # as every pass runs
        net(photo)
        start = time.perf_counter()
        net(photo)
        seconds = time.perf_counter() - start
    # Compiling takes one core and keeps all of them waiting; the passes share them.
    return 2 * COMPILING_SECONDS * cores() / (GAIN * seconds)
