"""torch on an NVIDIA GPU: pass after pass, while the processor's cores decode the photos to come."""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
import torch
from torch import Tensor

from manyeyes.backbones.engines import Job
from manyeyes.backbones.engines.torch_engine import DTYPES, Run, compiled
from manyeyes.backbones.nets import Encoder, Look, Pixels
from manyeyes.backbones.nets.whole import look_of
from manyeyes.errors import EngineError

BATCH = 128
# Photos from which on compiling, which takes a minute or so, is made up for.
WORTH_COMPILING = 20_000

# Passes are launched one at a time, whichever backbone's they are: what is set for one is set for the whole process.
_launching = threading.Lock()


class CudaEngine:
    """Weights cast once, channels last; compiled when there are many photos. fp32 means fp32: no TF32."""

    def why_not(self) -> str:
        return _why_not()

    def start(self, job: Job) -> Encoder:
        try:
            net = job.build().ready(DTYPES[job.run.precision], "cuda")
            batch = job.run.batch or BATCH
            if job.run.photos < WORTH_COMPILING:
                return CudaEncoder(net, batch, enough=WORTH_COMPILING)
            with _launch():
                return CudaEncoder(compiled(net, job, batch, "cuda"), batch)
        except torch.OutOfMemoryError:
            raise _no_room(f"{job.name} and {batch} photos do") from None


class CudaEncoder:
    """A network on the GPU as a function of arrays. A batch that does not fit the memory is halved, and stays so."""

    def __init__(self, net: Run, batch: int = BATCH, enough: float = math.inf) -> None:
        self.batch = batch
        self.enough = enough
        self._net = net

    def __call__(self, framed: Pixels) -> Look:
        try:
            return self._look(torch.from_numpy(np.require(framed, requirements="W")).pin_memory())
        except torch.OutOfMemoryError:
            if len(framed) == 1:
                raise _no_room("a single photo does") from None
        torch.cuda.empty_cache()
        half = (len(framed) + 1) // 2
        self.batch = min(self.batch, half)
        return _joined(self(framed[:half]), self(framed[half:]))

    def _look(self, framed: Tensor) -> Look:
        with _launch():
            outputs = self._net(framed.to("cuda", non_blocking=True))
        return look_of(outputs)  # waits for the GPU, while the next pass is launched


@cache
def _why_not() -> str:
    if not torch.cuda.is_available():
        return "torch sees no NVIDIA GPU on this machine"
    try:
        torch.ones(1, device="cuda").add(1).cpu()
    except RuntimeError as error:  # too old or too new for this torch, or nothing of its memory is left
        return f"the GPU does not compute: {' '.join(str(error).split())[:200]}"
    return ""


@contextmanager
def _launch() -> Iterator[None]:
    exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=False)
    with _launching, torch.inference_mode(), exact:
        users_own = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(users_own)


def _no_room(who: str) -> EngineError:
    return EngineError(f"{who} not fit the GPU's free memory: make room there, or choose --engine torch")


def _joined(one: Look, other: Look) -> Look:
    blocks = {tap: np.concatenate([one.blocks[tap], other.blocks[tap]]) for tap in one.blocks}
    if one.logits is None or other.logits is None:
        return Look(blocks, None)
    return Look(blocks, np.concatenate([one.logits, other.logits]))
