"""OpenVINO on x86 processors: whole graphs compiled for this processor, in float32 or bfloat16."""

import math
import platform
import threading
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from manyeyes.backbones.engines import Job
from manyeyes.backbones.engines.openvino_graph import graph
from manyeyes.backbones.engines.openvino_import import openvino
from manyeyes.backbones.nets import Encoder, Look, Pixels, Precision
from manyeyes.backbones.nets.whole import look_of
from manyeyes.errors import EngineError
from manyeyes.threads import cores

BATCH = 8
# How OpenVINO calls what it computes in.
PRECISIONS: dict[Precision, str] = {"fp32": "f32", "bf16": "bf16"}

# OpenVINO's Python binding sets itself up in the first pass of a process. Two threads that make it at the same time
# wait for each other for ever: one for the interpreter's lock, which the other holds while it waits for the set-up.
_first_pass = threading.Lock()


class OpenVinoEngine:
    """One stream a core, one request a thread: a pass runs on one core, and as many passes as there are cores."""

    def why_not(self) -> str:
        if platform.machine().lower() not in ("x86_64", "amd64"):
            return f"it is used on x86 processors, and this is {platform.machine()}"
        return "" if find_spec("openvino") else "install it with pip install 'manyeyes[openvino]'"

    def start(self, job: Job) -> Encoder:
        settings = {
            "INFERENCE_PRECISION_HINT": PRECISIONS[job.run.precision],
            "NUM_STREAMS": cores(),
            "INFERENCE_NUM_THREADS": cores(),
            # Who else works on this machine is for the system's scheduler to weigh.
            "ENABLE_CPU_PINNING": False,
        }
        model = graph(job)
        try:
            compiled = openvino().Core().compile_model(model, "CPU", settings)
            return OpenVinoEncoder(compiled, job.size, job.run.batch or BATCH)
        except RuntimeError as error:  # the only kind that OpenVINO raises
            why = " ".join(str(error).split())[:200]
            raise EngineError(f"OpenVINO cannot run {job.name} here: {why}; choose --engine torch") from None


class OpenVinoEncoder:
    """A compiled graph of one photo as a function of arrays. Its weights stay packed: batches would gain it little."""

    enough = math.inf

    def __init__(self, compiled: Any, size: int, batch: int = BATCH) -> None:
        self.batch = batch
        self._compiled = compiled
        self._mine = threading.local()
        with _first_pass:
            self(np.zeros((1, size, size, 3), np.uint8))

    def __call__(self, framed: Pixels) -> Look:
        request = self._request()
        photos = [self._look(request, photo[None]) for photo in framed]
        return look_of({name: torch.from_numpy(np.concatenate([one[name] for one in photos])) for name in photos[0]})

    def _look(self, request: Any, photo: Pixels) -> dict[str, np.ndarray[Any, Any]]:
        request.infer([photo])
        return {output.any_name: request.get_tensor(output).data.copy() for output in self._compiled.outputs}

    def _request(self) -> Any:
        if not hasattr(self._mine, "request"):
            self._mine.request = self._compiled.create_infer_request()
        return self._mine.request
