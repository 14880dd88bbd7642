"""Tensors out of a TorchScript archive, opened so that none of the code in it can run."""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from manyeyes.errors import CardError


class _Module:
    """Stands for an object of any class that the archive defines: its attributes, and nothing of its code."""


class _Stored(NamedTuple):
    """Where a float tensor lies: the archive's member ``data/KEY``, and the place and steps of its numbers there."""

    key: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _ModuleUnpickler(pickle.Unpickler):
    """Describes tensors and makes none: a pickle could call methods of whatever it is given."""

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__."):
            return type(name, (_Module,), {})
        match module, name:
            case "torch._utils", "_rebuild_tensor_v2":
                return self._stored
            case "torch", "FloatStorage":
                return name
            case "collections", "OrderedDict":
                return OrderedDict
            case "torch.jit._pickle", "build_intlist":
                return list
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is neither a module nor a float tensor")

    def persistent_load(self, pid: Any) -> str:
        _, _, key, *_ = pid
        return str(key)

    def _stored(self, key: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> _Stored:
        return _Stored(key, offset, shape, strides)


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """The float tensors of a TorchScript file by their path, such as ``layers.conv.weight``, in the module's order.

    Raises CardError for any other file, and for a pickle that names anything but modules and float tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            (pickled,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
            folder = pickled.removesuffix(".pkl")
            with archive.open(pickled) as file:
                stored = _leaves(_ModuleUnpickler(file).load(), "")
                return {name: _tensor(archive.read(f"{folder}/{place.key}"), place) for name, place in stored}
    # A damaged archive raises errors of almost any kind, and a module that holds itself ends in a RecursionError.
    except Exception as error:
        raise CardError(f"{path.name} cannot be read as TorchScript: {' '.join(str(error).split())[:200]}") from None


def _leaves(node: _Module, name: str) -> Iterator[tuple[str, _Stored]]:
    for attribute, value in vars(node).items():
        if isinstance(value, _Stored):
            yield f"{name}{attribute}", value
        elif isinstance(value, _Module):
            yield from _leaves(value, f"{name}{attribute}.")


def _tensor(storage: bytes, place: _Stored) -> Tensor:
    numbers = torch.from_numpy(np.frombuffer(storage, "<f4").astype(np.float32))
    return numbers.as_strided(place.shape, place.strides, place.offset)
