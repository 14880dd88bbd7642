"""Any ONNX image encoder as a backbone, run by onnxruntime."""

import logging
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from manyeyes.backbones.card import Card
from manyeyes.backbones.nets import FINAL, PLAIN, Encoder, FloatArray, Look, Pixels, Precision, Run
from manyeyes.backbones.preprocess import normalise
from manyeyes.errors import CardError, MissingExtraError

log = logging.getLogger(__name__)

GRAPH = "model.onnx"
BATCH = 16


class OnnxNet:
    """An ONNX graph with one image input (B, 3, S, S).

    Its first output of ``card.dimension`` columns is the embedding; with a label space, the next other two-dimensional
    output is the source head's logits.
    """

    taps = (FINAL,)
    precisions: tuple[Precision, ...] = ("fp32",)

    def prepare(self, fetched: Path, card: Card, folder: Path) -> None:
        shutil.copyfile(fetched, folder / GRAPH)

    def load(self, card: Card, folder: Path, run: Run = PLAIN) -> Encoder:
        if run.engine != "auto":
            log.info("%s: onnxruntime, whatever the engine, for it is an ONNX graph", card.name)
        return OnnxEncoder(card, folder / GRAPH, run.batch or BATCH)


def open_session(path: Path, name: str) -> Any:
    """An onnxruntime session on one core of the CPU; errors call it ``name``.

    Raises MissingExtraError, or CardError when the file is no ONNX graph or not the whole of one.
    """
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtraError("ONNX backbones need onnxruntime: pip install 'manyeyes[onnx]'") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # many passes run side by side
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    # onnxruntime's exceptions share no base class of their own.
    except Exception as error:
        if "external data" in str(error).lower():
            raise CardError(
                f"{name} keeps weights in other files, which do not travel with it: save it as one, "
                "onnx.save(onnx.load('many.onnx'), 'one.onnx')"
            ) from None
        raise CardError(f"{name} is not an ONNX graph that onnxruntime can run: {_summary(error)}") from None


def run_session(session: Any, pixels: FloatArray, name: str) -> list[Any]:
    """What the graph gives for normalised pixels (B, 3, S, S). Raises CardError when it cannot look at them."""
    try:
        outputs: list[Any] = session.run(None, {session.get_inputs()[0].name: pixels})
    # onnxruntime's exceptions share no base class of their own.
    except Exception as error:
        raise CardError(f"{name} cannot look at inputs of {pixels.shape}: {_summary(error)}") from None
    return outputs


class OnnxEncoder:
    enough = math.inf

    def __init__(self, card: Card, path: Path, batch: int = BATCH) -> None:
        self._session = open_session(path, card.name)
        self._batch = self._session.get_inputs()[0].shape[0]
        self.batch = self._batch if isinstance(self._batch, int) else batch
        self._card = card

    def __call__(self, framed: Pixels) -> Look:
        pixels = normalise(framed, self._card.preprocessing)
        # A graph exported with a fixed batch is fed in slices of that size.
        fixed = self._batch if isinstance(self._batch, int) else None
        if fixed is None or fixed == len(pixels):
            return self._run(pixels)
        looks = [self._run(_padded(pixels[start : start + fixed], fixed)) for start in range(0, len(pixels), fixed)]
        features = np.concatenate([look.blocks[FINAL] for look in looks])[: len(pixels)]
        logits = [look.logits for look in looks if look.logits is not None]
        return Look({FINAL: features}, np.concatenate(logits)[: len(pixels)] if logits else None)

    def _run(self, pixels: FloatArray) -> Look:
        outputs = [out for out in run_session(self._session, pixels, self._card.name) if getattr(out, "ndim", 0) >= 2]
        flat = [output.reshape(len(pixels), -1).astype(np.float32) for output in outputs]
        embeddings = [index for index, output in enumerate(flat) if output.shape[1] == self._card.dimension]
        if not embeddings:
            shapes = [output.shape for output in flat]
            raise CardError(f"the ONNX graph has no output of {self._card.dimension} columns, only {shapes}")
        others = [output for index, output in enumerate(flat) if index != embeddings[0]]
        return Look({FINAL: flat[embeddings[0]]}, others[0] if self._card.labels is not None and others else None)


def _summary(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _padded(pixels: FloatArray, size: int) -> FloatArray:
    return pixels if len(pixels) == size else np.concatenate([pixels, np.repeat(pixels[-1:], size - len(pixels), 0)])
