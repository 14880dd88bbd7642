"""torch on an NVIDIA GPU: bytes go over once, in pinned memory, while the pass before them is still running."""

import threading

import numpy as np
import torch
from torch import Tensor

from manyeyes.backbones.engines import Job
from manyeyes.backbones.engines.torch_engine import DTYPES
from manyeyes.backbones.nets import Encoder, Look, Pixels
from manyeyes.backbones.nets.whole import WholeNet, look_of

BATCH = 128
# Photos from which on compiling, which takes a minute or so, is made up for.
WORTH_COMPILING = 20_000


class CudaEngine:
    """Weights cast once, channels last; compiled when there are many photos. fp32 means fp32: no TF32."""

    def why_not(self) -> str:
        return "" if torch.cuda.is_available() else "torch sees no NVIDIA GPU on this machine"

    def start(self, job: Job) -> Encoder:
        net = job.build().ready(DTYPES[job.run.precision], "cuda")
        if job.run.photos >= WORTH_COMPILING:
            net.compile(dynamic=True)
        return CudaEncoder(net)


class CudaEncoder:
    """A network on the GPU as a function of arrays. A batch that does not fit the memory is halved, and stays so."""

    def __init__(self, net: WholeNet, batch: int = BATCH) -> None:
        self.batch = batch
        self._net = net
        # One pass at a time; beside it other threads decode, pin and fetch.
        self._running = threading.Lock()

    def __call__(self, framed: Pixels) -> Look:
        try:
            return self._look(torch.from_numpy(framed).pin_memory())
        except torch.OutOfMemoryError:
            if len(framed) == 1:
                raise
        torch.cuda.empty_cache()
        half = len(framed) // 2
        self.batch = min(self.batch, half)
        return _joined(self(framed[:half]), self(framed[half:]))

    @torch.inference_mode()
    def _look(self, framed: Tensor) -> Look:
        with self._running, torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):
            outputs = self._net(framed.to("cuda", non_blocking=True))
        return look_of(outputs)


def _joined(one: Look, other: Look) -> Look:
    blocks = {tap: np.concatenate([one.blocks[tap], other.blocks[tap]]) for tap in one.blocks}
    if one.logits is None or other.logits is None:
        return Look(blocks, None)
    return Look(blocks, np.concatenate([one.logits, other.logits]))
