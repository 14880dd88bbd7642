"""Engines: what runs a network on this machine."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from manyeyes.backbones.nets import Encoder, Run
from manyeyes.backbones.nets.whole import WholeNet
from manyeyes.errors import EngineError
from manyeyes.registry import Registry


@dataclass(frozen=True)
class Job:
    """A network that an engine is to run.

    name : of the backbone, for people. key : changes with whatever changes the graph. folder : of its weights;
    what an engine wants to find again lies beside them. build : assembles it, in float32 on the CPU, which takes a
    second or two. size : of its photos, in pixels.
    """

    name: str
    key: str
    folder: Path
    size: int
    build: Callable[[], WholeNet]
    run: Run


class Engine(Protocol):
    """``why_not`` says in words why this machine cannot have the engine, or nothing; ``start`` makes an encoder."""

    def why_not(self) -> str: ...

    def start(self, job: Job) -> Encoder: ...


ENGINES = Registry(
    "engines",
    {
        "auto": "manyeyes.backbones.engines.auto:AutoEngine",
        "torch": "manyeyes.backbones.engines.torch_engine:TorchEngine",
        "openvino": "manyeyes.backbones.engines.openvino_engine:OpenVinoEngine",
        "cuda": "manyeyes.backbones.engines.cuda_engine:CudaEngine",
    },
)


def find_engine(name: str) -> Engine:
    """The engine of that name. Raises UnknownNameError for none, EngineError for one that this machine cannot have."""
    engine: Engine = ENGINES[name]()
    if why_not := engine.why_not():
        raise EngineError(f"the engine {name} cannot run here: {why_not}")
    return engine
