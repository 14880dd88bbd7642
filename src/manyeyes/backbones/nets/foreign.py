"""What the readers of other frameworks' weight files share: arrays by name, and kernels in torch's layout."""

from collections.abc import Mapping
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from manyeyes.backbones.nets import FloatArray
from manyeyes.errors import CardError

# Keras and TF-slim divide by sqrt(variance + 1e-3) where torch's default is 1e-5.
TENSORFLOW_EPSILON = 1e-3


class NamedArrays(dict[str, FloatArray]):
    """The arrays of one file. Asking for a name that the file lacks raises CardError."""

    def __init__(self, file: str, arrays: Mapping[str, FloatArray]) -> None:
        super().__init__(arrays)
        self._file = file

    def __missing__(self, name: str) -> NoReturn:
        raise CardError(f"{self._file} holds no array called {name!r}: it is not the file its card describes")


def tensor(array: FloatArray) -> Tensor:
    """A float32 copy that owns its memory: readers hand out views of files and buffers."""
    return torch.from_numpy(np.array(array, dtype=np.float32, order="C"))


def kernel(array: FloatArray) -> Tensor:
    """A convolution's weights: (height, width, in, out) → (out, in, height, width)."""
    return tensor(array.transpose(3, 2, 0, 1))


def depthwise_kernel(array: FloatArray) -> Tensor:
    """A depthwise convolution's weights: (height, width, channels, 1) → (channels, 1, height, width)."""
    return tensor(array.transpose(2, 3, 0, 1))


def batch_norm(
    name: str, gamma: FloatArray, beta: FloatArray, mean: FloatArray, variance: FloatArray
) -> dict[str, Tensor]:
    """The entries of the batch normalisation called ``name`` in a state dict."""
    return {
        f"{name}.weight": tensor(gamma),
        f"{name}.bias": tensor(beta),
        f"{name}.running_mean": tensor(mean),
        f"{name}.running_var": tensor(variance),
    }


def set_epsilon(model: nn.Module, epsilon: float) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = epsilon
