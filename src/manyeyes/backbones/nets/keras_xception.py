"""Xception as Keras publishes it, out of a Keras 3 archive whose own classifier is left behind."""

import zipfile
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from manyeyes.backbones.card import Card
from manyeyes.backbones.nets.foreign import (
    TENSORFLOW_EPSILON,
    NamedArrays,
    batch_norm,
    depthwise_kernel,
    kernel,
    set_epsilon,
)
from manyeyes.backbones.nets.timm_net import TimmHeaded, create
from manyeyes.backbones.nets.torch_net import TorchNet
from manyeyes.backbones.nets.whole import Headed
from manyeyes.errors import CardError, MissingExtraError

WEIGHTS = "model.weights.h5"
# Where Keras 3 keeps the layers of the first model nested in a model.
BASE = "layers/functional/layers"

HALVING_BLOCKS = (1, 2, 3, 12)


class KerasXception(TorchNet):
    """A ``.keras`` archive that holds Keras's Xception, on timm's ``legacy_xception``."""

    def build(self, card: Card) -> Headed:
        model = create(card)
        set_epsilon(model, TENSORFLOW_EPSILON)
        _pad_pools_as_tensorflow(model)
        return TimmHeaded(model, has_head=False)

    def convert(self, fetched: Path, card: Card) -> dict[str, Tensor]:
        arrays = read_keras_archive(fetched)
        convolutions, separables, norms = _layers_in_order()
        state: dict[str, Tensor] = {}
        for theirs, ours in _numbered("conv2d", convolutions):
            state[f"model.{ours}.weight"] = kernel(arrays[f"{theirs}/0"])
        for theirs, ours in _numbered("separable_conv2d", separables):
            state[f"model.{ours}.conv1.weight"] = depthwise_kernel(arrays[f"{theirs}/0"])
            state[f"model.{ours}.pointwise.weight"] = kernel(arrays[f"{theirs}/1"])
        for theirs, ours in _numbered("batch_normalization", norms):
            state |= batch_norm(f"model.{ours}", *(arrays[f"{theirs}/{part}"] for part in range(4)))
        return state


def read_keras_archive(path: Path) -> NamedArrays:
    """The arrays of the model nested in a ``.keras`` archive, as ``layer/number``. Raises CardError for other files."""
    try:
        import h5py
    except ImportError:
        raise MissingExtraError("Keras weights need h5py to be read: pip install 'manyeyes[mirror]'") from None
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive, archive.open(WEIGHTS) as stream, h5py.File(stream, "r") as weights:
            for layer, group in weights[BASE].items():
                for number, values in group["vars"].items():
                    arrays[f"{layer}/{number}"] = np.asarray(values, dtype=np.float32)
    except (zipfile.BadZipFile, OSError, KeyError) as error:
        raise CardError(f"{path.name} is no Keras archive with a model inside its model: {error}") from None
    return NamedArrays(path.name, arrays)


def _pad_pools_as_tensorflow(model: nn.Module) -> None:
    from manyeyes.backbones.timm_import import timm

    for number in HALVING_BLOCKS:
        rows = model.get_submodule(f"block{number}.rep")
        rows[-1] = timm.layers.create_pool2d("max", 3, stride=2, padding="same")  # type: ignore[operator]


def _numbered(kind: str, ours: list[str]) -> list[tuple[str, str]]:
    """Keras 3 stores layers under their kind and their place among the layers of that kind."""
    return [(kind if number == 0 else f"{kind}_{number}", name) for number, name in enumerate(ours)]


def _layers_in_order() -> tuple[list[str], list[str], list[str]]:
    """timm's names of the convolutions, separable convolutions and normalisations, in Keras's order."""
    convolutions, separables, norms = ["conv1", "conv2"], [], ["bn1", "bn2"]
    for number in range(1, 13):
        halving, block = number in HALVING_BLOCKS, f"block{number}"
        # timm's rows are (ReLU, convolution, normalisation); the first block has no leading ReLU.
        first = 0 if number == 1 else 1
        starts = range(first, first + 3 * (2 if halving else 3), 3)
        separables += [f"{block}.rep.{start}" for start in starts]
        norms += [f"{block}.rep.{start + 1}" for start in starts]
        if halving:
            convolutions.append(f"{block}.skip")
            norms.append(f"{block}.skipbn")
    return convolutions, [*separables, "conv3", "conv4"], [*norms, "bn3", "bn4"]
