"""Networks: how a weight file is read, and how it becomes something that looks at photos."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from manyeyes.backbones.card import Card
from manyeyes.registry import Registry

FloatArray = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

# Taps: where a backbone is read. The pooled features just before its source head, which every backbone has, and the
# second-order statistics of its penultimate stage.
FINAL, SECOND_ORDER = "final", "second-order"
Precision = Literal["fp32", "bf16"]
PrecisionChoice = Literal["auto", "fp32", "bf16"]


@dataclass(frozen=True)
class Run:
    """How a backbone is to be run.

    taps : where it is read. precision : what it computes in. engine : one of
    :data:`manyeyes.backbones.engines.ENGINES`. photos : about how many it is going to look at; an engine takes its time
    to get ready only where that pays. batch : photos in one pass; None leaves it to the engine.
    """

    taps: tuple[str, ...] = (FINAL,)
    precision: Precision = "fp32"
    engine: str = "torch"
    photos: int = 0
    batch: int | None = None


# Final features, in float32, by torch: how weights are verified.
PLAIN = Run()


class Look(NamedTuple):
    """What an encoder saw in B photos.

    blocks : tap → (B, D). logits : of the source labels, (B, L), when the net has a head.
    """

    blocks: dict[str, FloatArray]
    logits: FloatArray | None


class Encoder(Protocol):
    """Photos framed for the card, (B, S, S, 3) uint8 RGB → :class:`Look`. Several threads may call it at once.

    ``batch`` is how many photos at most are wanted in one call. For up to ``enough`` photos it is the best choice; for
    more, its engine would have taken the time to get a faster one ready.
    """

    batch: int
    enough: float

    def __call__(self, framed: Pixels) -> Look: ...


class Net(Protocol):
    """``prepare`` turns a fetched file into our own safe files in ``folder``; ``load`` builds an encoder from them.

    ``taps`` are those at which the net can be read, ``precisions`` those in which it can run.
    """

    taps: tuple[str, ...]
    precisions: tuple[Precision, ...]

    def prepare(self, fetched: Path, card: Card, folder: Path) -> None: ...

    def load(self, card: Card, folder: Path, run: Run = PLAIN) -> Encoder: ...


NETS = Registry(
    "nets",
    {
        "timm": "manyeyes.backbones.nets.timm_net:TimmNet",
        "onnx": "manyeyes.backbones.nets.onnx_net:OnnxNet",
        "keras-resnet": "manyeyes.backbones.nets.keras_resnet:KerasResNet",
        "keras-xception": "manyeyes.backbones.nets.keras_xception:KerasXception",
        "fid-inception": "manyeyes.backbones.nets.fid_inception:FidInception",
        "flax-vgg": "manyeyes.backbones.nets.flax_vgg:FlaxVgg",
        "tflite-mobilenet": "manyeyes.backbones.nets.tflite_mobilenet:TfliteMobileNet",
        "pickled-squeezenet": "manyeyes.backbones.nets.squeezenet:PickledSqueezeNet",
        "paddle-lcnet": "manyeyes.backbones.nets.paddle_lcnet:PaddleLcNet",
    },
)
