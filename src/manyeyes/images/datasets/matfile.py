"""MATLAB's .mat files of level 5, as far as label files go: plain arrays of real numbers, compressed or not.

scipy reads these files too, but a wrong byte in one makes its reader crash the whole process; this one says so.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

# Compressed numbers may be a thousand times as many; no label file needs more than this, in bytes.
LARGEST = 10_000_000

_HEADER = 128
_COMPRESSED, _MATRIX, _NAME = 15, 14, 1
# How numbers are stored, whatever their class in MATLAB.
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
# double, single, and eight kinds of integers; not cells, structs, objects, text or sparse arrays.
_CLASSES = range(6, 16)
_COMPLEX = 0x0800


def read_array(data: bytes, name: str) -> npt.NDArray[Any]:
    """The numbers of the array ``name`` in the file ``data``, flattened. Raises ValueError when there is none."""
    order = {b"IM": "<", b"MI": ">"}.get(data[_HEADER - 2 : _HEADER])
    if order is None:
        raise ValueError("it is not a MATLAB file of level 5")
    for kind, content in _elements(data[_HEADER:], order):
        if kind == _COMPRESSED:
            kind, content = next(_elements(_decompressed(content), order), (0, b""))
        if kind == _MATRIX and (found := _numbers(content, name, order)) is not None:
            return found
    raise ValueError(f"it holds no array {name} of real numbers")


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Kind and content of each element, one after another."""
    start = 0
    while start < len(data):
        if start + 8 > len(data):
            raise ValueError("it ends too early")
        kind, size = struct.unpack_from(f"{order}II", data, start)
        begin = start + 8
        if kind >> 16:  # up to four bytes lie in the tag itself
            kind, size, begin = kind & 0xFFFF, min(kind >> 16, 4), start + 4
        if begin + size > len(data):
            raise ValueError("it ends too early")
        yield kind, data[begin : begin + size]
        # Elements begin at multiples of eight, save after compressed ones.
        start = begin + size + (0 if kind == _COMPRESSED else -(begin + size) % 8)


def _decompressed(content: bytes) -> bytes:
    try:
        data = zlib.decompressobj().decompress(content, LARGEST + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(data) > LARGEST:
        raise ValueError("it is too large")
    return data


def _numbers(matrix: bytes, name: str, order: str) -> npt.NDArray[Any] | None:
    """The numbers of a matrix, or None when it has another name or holds no plain numbers."""
    parts = list(islice(_elements(matrix, order), 4))
    if len(parts) < 4 or parts[2] != (_NAME, name.encode()):
        return None
    (_, flags), (_, dimensions), _, (kind, content) = parts
    if len(flags) != 8 or len(dimensions) % 4 or kind not in _STORED:
        return None
    flag = struct.unpack_from(f"{order}I", flags)[0]
    stored = np.dtype(order + _STORED[kind])
    count = math.prod(struct.unpack(f"{order}{len(dimensions) // 4}i", dimensions))
    if flag & 0xFF not in _CLASSES or flag & _COMPLEX or len(content) != count * stored.itemsize:
        return None
    return np.frombuffer(content, stored)
