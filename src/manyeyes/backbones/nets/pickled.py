"""Pickles of numpy arrays, opened so that nothing but numpy arrays can come out and no code can run."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from manyeyes.backbones.nets import FloatArray
from manyeyes.backbones.nets.foreign import NamedArrays
from manyeyes.errors import CardError

# Everything that a pickled array names; old and new numpy keep the first one in different places.
_RECONSTRUCT = np.empty(0).__reduce__()[0]
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no numpy array") from None


def read_pickled_arrays(path: Path) -> NamedArrays:
    """The float arrays of a pickle of nested dicts and lists, by their path, such as ``fire2/expand3x3/0``.

    Raises CardError for a pickle that names anything but numpy arrays, before that is imported or called.
    """
    try:
        with path.open("rb") as file:
            arrays = dict(_leaves(_ArrayUnpickler(file).load(), ""))
    # A damaged pickle raises errors of almost any kind, and one that holds itself ends in a RecursionError.
    except Exception as error:
        raise CardError(f"{path.name} cannot be read as a pickle of arrays: {error}") from None
    return NamedArrays(path.name, arrays)


def _leaves(node: Any, name: str) -> list[tuple[str, FloatArray]]:
    if isinstance(node, np.ndarray) and node.dtype.kind == "f":
        return [(name, node)]
    if isinstance(node, dict):
        children = list(node.items())
    elif isinstance(node, list | tuple):
        children = list(enumerate(node))
    else:
        raise pickle.UnpicklingError(f"it holds something other than float arrays at {name!r}")
    prefix = f"{name}/" if name else ""
    return [leaf for key, child in children for leaf in _leaves(child, f"{prefix}{key}")]
