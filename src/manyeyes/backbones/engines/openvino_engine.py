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
# Networks whose weights are no larger, in bytes, look at so many photos together, in 8 to 16 per cent less time for
# each (EfficientNet-Lite, MobileNets, SqueezeNet, PP-LCNet). Larger ones gain nothing, and Xception loses five.
SMALL, TOGETHER = 32 * 2**20, 4
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
        if job.run.precision == "bf16" and not has_bf16():  # it would compute in float32, and not say so
            raise EngineError(
                f"OpenVINO cannot run {job.name} in bfloat16: this processor does not multiply in it; "
                "choose --precision fp32, or --engine torch, which is slow at it"
            )
        model = graph(job)
        try:
            return OpenVinoEncoder(compiled(model, settings(job)), job.size, job.run.batch or BATCH)
        except RuntimeError as error:  # the only kind that OpenVINO raises
            why = " ".join(str(error).split())[:200]
            raise EngineError(f"OpenVINO cannot run {job.name} here: {why}; choose --engine torch") from None


def has_bf16() -> bool:
    return "BF16" in openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def settings(job: Job) -> dict[str, Any]:
    return {
        "INFERENCE_PRECISION_HINT": PRECISIONS[job.run.precision],
        "NUM_STREAMS": cores(),
        "INFERENCE_NUM_THREADS": cores(),
        # Who else works on this machine is for the system's scheduler to weigh.
        "ENABLE_CPU_PINNING": False,
    }


def compiled(model: Any, settings: dict[str, Any]) -> dict[int, Any]:
    """Graphs compiled for one photo and, where it is worth it, for several; by their number. ``model`` is changed."""
    graphs = {1: openvino().Core().compile_model(model, "CPU", settings)}
    if _bytes(model) <= SMALL and _takes(model, TOGETHER):
        graphs[TOGETHER] = openvino().Core().compile_model(model, "CPU", settings)
    return graphs


def _bytes(model: Any) -> int:
    """How large the weights of a graph are."""
    constants = (node for node in model.get_ops() if node.get_type_name() == "Constant")
    return sum(int(node.get_byte_size()) for node in constants)


def _takes(model: Any, photos: int) -> bool:
    """Make a graph of one photo one of several. Some have the one written into them: then nothing has changed."""
    _, *rest = model.input().shape
    try:
        model.reshape([photos, *rest])
    except RuntimeError:
        return False
    return all(output.shape[0] == photos for output in model.outputs)


class OpenVinoEncoder:
    """Compiled graphs, by how many photos they take at once, as a function of arrays."""

    enough = math.inf

    def __init__(self, graphs: dict[int, Any], size: int, batch: int = BATCH) -> None:
        self.batch = batch
        self._graphs = graphs
        self._mine = threading.local()
        with _first_pass:
            for photos in graphs:
                self(np.zeros((photos, size, size, 3), np.uint8))

    def __call__(self, framed: Pixels) -> Look:
        looks, start = [], 0
        while start < len(framed):
            photos = max(size for size in self._graphs if size <= len(framed) - start)
            looks.append(self._look(framed[start : start + photos]))
            start += photos
        return look_of({name: torch.from_numpy(np.concatenate([one[name] for one in looks])) for name in looks[0]})

    def _look(self, framed: Pixels) -> dict[str, np.ndarray[Any, Any]]:
        request = self._request(len(framed))
        request.infer([framed])
        outputs = self._graphs[len(framed)].outputs
        return {output.any_name: request.get_tensor(output).data.copy() for output in outputs}

    def _request(self, photos: int) -> Any:
        requests: dict[int, Any] = self._mine.__dict__.setdefault("requests", {})
        if photos not in requests:
            requests[photos] = self._graphs[photos].create_infer_request()
        return requests[photos]
