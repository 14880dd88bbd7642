"""Paddle inference models: a program in protobuf that names the parameters, and a file with their values.

Two of Paddle's messages are read, and three fields of each; that needs neither Paddle nor its schema. The numbers below
are those of ``framework.proto``. Nothing of the program is run.
"""

import struct
from collections.abc import Iterator
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from manyeyes.backbones.nets import FloatArray
from manyeyes.backbones.nets.foreign import NamedArrays
from manyeyes.errors import CardError

PROGRAM, PARAMETERS = "inference.pdmodel", "inference.pdiparams"

PROGRAM_BLOCK, BLOCK_VARIABLE = 1, 3
VARIABLE_NAME, VARIABLE_TYPE, VARIABLE_PERSISTS = 1, 2, 3
TYPE_KIND, DENSE_TENSOR = 1, 7
TENSOR_KIND, TENSOR_DIMENSION, FLOAT32 = 1, 2, 5


def read_paddle(folder: Path) -> NamedArrays:
    """The float32 parameters of the inference model in ``folder``. Raises CardError when it is none, or is damaged."""
    try:
        names = sorted(_parameter_names((folder / PROGRAM).read_bytes()))
        stream = BytesIO((folder / PARAMETERS).read_bytes())
        arrays = {name: _read_tensor(stream) for name in names}
    except (OSError, ValueError, IndexError, KeyError, TypeError, struct.error) as error:
        raise CardError(f"{folder.name} holds no Paddle inference model that can be read: {error}") from None
    if stream.read(1):
        raise CardError(f"{folder.name}/{PARAMETERS} holds more than the parameters that {PROGRAM} names")
    return NamedArrays(folder.name, arrays)


def _parameter_names(program: bytes) -> Iterator[str]:
    block = dict(_fields(program))[PROGRAM_BLOCK]
    for number, value in _fields(block):
        if number == BLOCK_VARIABLE:
            variable = dict(_fields(value))
            kind = dict(_fields(variable[VARIABLE_TYPE]))[TYPE_KIND]
            # The program's input and output persist too, but are no tensors.
            if variable.get(VARIABLE_PERSISTS) and kind == DENSE_TENSOR:
                yield variable[VARIABLE_NAME].decode()


def _read_tensor(stream: BytesIO) -> FloatArray:
    """One parameter: versions and an empty level-of-detail table, then its description, then its values."""
    _, levels, _, size = struct.unpack("<IQIi", stream.read(20))
    description = list(_fields(stream.read(size)))
    if levels or dict(description)[TENSOR_KIND] != FLOAT32:
        raise ValueError("it has parameters that are not plain float32")
    shape = [value for number, value in description if number == TENSOR_DIMENSION]
    return np.frombuffer(stream.read(4 * prod(shape)), "<f4").reshape(shape)


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Numbers and values of a protobuf message: an int for a varint, bytes for whatever has a length."""
    stream = BytesIO(message)
    while stream.tell() < len(message):
        key = _varint(stream)
        wire = key & 7
        if wire == 0:
            yield key >> 3, _varint(stream)
        elif wire == 2:
            yield key >> 3, stream.read(_varint(stream))
        elif wire in (1, 5):
            yield key >> 3, stream.read(8 if wire == 1 else 4)
        else:
            raise ValueError(f"its program has a field of wire type {wire}")


def _varint(stream: BytesIO) -> int:
    value = shift = 0
    while True:
        byte = stream.read(1)[0]
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value
