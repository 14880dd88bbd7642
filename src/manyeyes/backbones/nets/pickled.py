"""Pickles of numpy arrays, opened so that nothing but numpy arrays can come out and no code can run.

Not even numpy's own: its objects trust the state that a pickle gives them, and some damaged bytes made them end the
process. Stand-ins take the state instead, and an array is made of it only when the bytes fit the shape.
"""

import pickle
import pickletools
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from manyeyes.backbones.nets import FloatArray
from manyeyes.backbones.nets.foreign import NamedArrays
from manyeyes.errors import CardError


class _Dtype:
    """Stands in for ``numpy.dtype``: called with a code such as ``f4``, then told the byte order."""

    def __init__(self, code: str, *_copying: object) -> None:
        self._code = code
        self.dtype = np.dtype(code) if code in ("f2", "f4", "f8") else None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if self.dtype is not None and state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])

    def __str__(self) -> str:
        return f"dtype {self._code!r}"


class _Array:
    """Stands in for ``numpy.ndarray``: made empty, then told all there is to know."""

    def __init__(self, *_of_an_empty_array: object) -> None:
        self.array: FloatArray | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, in_columns, data = state
        if not isinstance(dtype, _Dtype) or dtype.dtype is None:
            raise pickle.UnpicklingError(f"it holds an array of {dtype}, where floats are wanted")
        if not all(isinstance(side, int) and side >= 0 for side in shape):
            raise pickle.UnpicklingError(f"it holds an array of the shape {shape}")
        self.array = np.frombuffer(data, dtype.dtype).reshape(shape, order="F" if in_columns else "C")


# Everything that a pickled array names; old and new numpy keep the first one in different places.
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
}
# The instructions that name a place in the unpickler's memo to fill.
_MEMORISES = ("PUT", "BINPUT", "LONG_BINPUT")


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no numpy array") from None


def read_pickled_arrays(path: Path) -> NamedArrays:
    """The float arrays of a pickle of nested dicts and lists, by their path, such as ``fire2/expand3x3/0``.

    Raises CardError for a pickle that names anything but numpy arrays, before that is imported or called. Takes no more
    memory than a few times the file's size, whatever its bytes ask for.
    """
    try:
        content = path.read_bytes()
        _refuse_excess(content)
        arrays = dict(_leaves(_ArrayUnpickler(BytesIO(content)).load(), ""))
    # A damaged pickle raises errors of almost any kind, and one that holds itself ends in a RecursionError.
    except Exception as error:
        raise CardError(f"{path.name} cannot be read as a pickle of arrays: {error}") from None
    return NamedArrays(path.name, arrays)


def _refuse_excess(content: bytes) -> None:
    """Raise when an instruction wants more bytes than are left, or a place in the memo beyond what the file can fill.

    The unpickler makes room for either before it looks: a damaged byte makes it fill gigabytes with zeros.
    """
    for instruction, argument, position in pickletools.genops(content):
        if instruction.name in _MEMORISES and isinstance(argument, int) and argument > len(content):
            raise pickle.UnpicklingError(f"byte {position} asks for place {argument} of the memo")


def _leaves(node: Any, name: str) -> list[tuple[str, FloatArray]]:
    if isinstance(node, _Array) and node.array is not None:
        return [(name, node.array)]
    if isinstance(node, dict):
        children = list(node.items())
    elif isinstance(node, list | tuple):
        children = list(enumerate(node))
    else:
        raise pickle.UnpicklingError(f"it holds something other than float arrays at {name!r}")
    prefix = f"{name}/" if name else ""
    return [leaf for key, child in children for leaf in _leaves(child, f"{prefix}{key}")]
