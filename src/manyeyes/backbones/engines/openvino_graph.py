"""A network as an OpenVINO graph: converted once, and kept beside the weights.

A graph is two files in a folder that gets its name last, with the sha256 of both: what was damaged or half written is
converted anew. The graph is kept in float32; in what precision it runs is said when it is compiled.
"""

import json
import logging
import shutil
import uuid
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from manyeyes.backbones.engines import Job
from manyeyes.backbones.engines.openvino_import import openvino
from manyeyes.backbones.nets.whole import WholeNet
from manyeyes.backbones.sources import sha256_of
from manyeyes.errors import EngineError
from manyeyes.progress import waiting

log = logging.getLogger(__name__)

# Raised when what is converted changes.
VERSION = 1
GRAPH, WEIGHTS, RECORD = "graph.xml", "graph.bin", "graph.json"


def kept_graph(job: Job) -> Path | None:
    """The file of the job's graph, when one is kept that is whole."""
    folder = _folder(job)
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if record == _digests(folder):
            return folder / GRAPH
    except FileNotFoundError:
        if not folder.exists():
            return None
    except (OSError, ValueError):
        pass
    log.warning("the OpenVINO graph of %s was damaged: it is converted anew (%s)", job.name, folder)
    return None


def graph(job: Job) -> Any:
    """The job's graph, ``openvino.Model``: the kept one, else converted now. Raises EngineError when it cannot be."""
    if kept := kept_graph(job):
        try:
            return openvino().Core().read_model(kept)
        except RuntimeError as error:  # written by another version, or removed meanwhile
            log.warning("the OpenVINO graph of %s cannot be read: it is converted anew (%s)", job.name, error)
    with waiting(f"converting {job.name} for OpenVINO"):
        model = _convert(job)
        _keep(model, job)
    return model


def _convert(job: Job) -> Any:
    wrapped = _InOrder(job.build())
    photo = torch.zeros(1, job.size, job.size, 3, dtype=torch.uint8)
    try:
        with torch.inference_mode(), warnings.catch_warnings():
            # The tracer warns that it fixes what depends on shapes, and photos of one size have one shape.
            warnings.simplefilter("ignore")
            names = list(wrapped.net(photo))
            model = openvino().convert_model(wrapped, example_input=photo, input=[photo.shape])
    # The converter and torch's tracer raise errors of many kinds, without a class of their own.
    except Exception as error:
        why = " ".join(str(error).split())[:200]
        raise EngineError(f"OpenVINO cannot convert {job.name}: {why}; choose --engine torch") from None
    for output, name in zip(model.outputs, names, strict=True):
        output.get_tensor().set_names({name})
    return model


class _InOrder(nn.Module):
    """The outputs as a tuple: the tracer keeps no names."""

    def __init__(self, net: WholeNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, framed: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.net(framed).values())


def _folder(job: Job) -> Path:
    return job.folder / f"openvino-{VERSION}-{job.key}"


def _digests(folder: Path) -> dict[str, str]:
    return {name: sha256_of(folder / name) for name in (GRAPH, WEIGHTS)}


def _keep(model: Any, job: Job) -> None:
    """Write under a hidden name and rename; two processes may convert the same network at the same time."""
    folder = _folder(job)
    hidden = folder.with_name(f".{uuid.uuid4().hex}")
    try:
        hidden.mkdir()
        openvino().save_model(model, hidden / GRAPH, compress_to_fp16=False)
        (hidden / RECORD).write_text(json.dumps(_digests(hidden)), encoding="utf-8")
        if folder.exists() and kept_graph(job):
            return  # another process was faster, and others may be reading what it wrote
        shutil.rmtree(folder, ignore_errors=True)  # a damaged one
        hidden.rename(folder)
        for older in set(folder.parent.glob("openvino-*")) - set(folder.parent.glob(f"openvino-{VERSION}-*")):
            shutil.rmtree(older, ignore_errors=True)
    # A full disk comes as a RuntimeError from OpenVINO; a faster process makes the rename fail.
    except (OSError, RuntimeError) as error:
        log.info("the OpenVINO graph %s is not kept: %s; it is converted again next time", folder, error)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
