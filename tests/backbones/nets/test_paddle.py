"""Paddle's inference format, written here byte by byte as ``framework.proto`` and its tensor streams lay it out."""

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from manyeyes.backbones.nets.paddle import read_paddle
from manyeyes.errors import CardError

FLOAT32, FLOAT64, DENSE, FEED = 5, 6, 7, 9
KERNEL = np.arange(600, dtype=np.float32).reshape(2, 300)
BIAS = np.array([0.5, -1.5], dtype=np.float32)


def varint(value: int) -> bytes:
    head = b""
    while value > 0x7F:
        head += bytes([value & 0x7F | 0x80])
        value >>= 7
    return head + bytes([value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def variable(name: str, kind: int, persists: bool) -> bytes:
    return field(3, field(1, name.encode()) + field(2, field(1, kind)) + field(3, int(persists)))


def tensor(array: npt.NDArray[np.float32], kind: int = FLOAT32) -> bytes:
    description = field(1, kind) + b"".join(field(2, size) for size in array.shape)
    return struct.pack("<IQIi", 0, 0, 0, len(description)) + description + array.tobytes()


def write_model(folder: Path, parameters: bytes) -> Path:
    block = variable("feed", FEED, True) + variable("relu.tmp", DENSE, False)
    # Declared out of order: the values stand in the order of the names.
    block += variable("conv.w_0", DENSE, True) + variable("conv.b_0", DENSE, True)
    (folder / "inference.pdmodel").write_bytes(field(1, block))
    (folder / "inference.pdiparams").write_bytes(parameters)
    return folder


def test_parameters_come_back_under_their_names(tmp_path: Path) -> None:
    arrays = read_paddle(write_model(tmp_path, tensor(BIAS) + tensor(KERNEL)))
    assert arrays.keys() == {"conv.w_0", "conv.b_0"}
    np.testing.assert_array_equal(arrays["conv.b_0"], BIAS)
    np.testing.assert_array_equal(arrays["conv.w_0"], KERNEL)


@pytest.mark.parametrize(
    "parameters",
    [
        b"",
        tensor(BIAS),
        tensor(BIAS) + tensor(KERNEL)[:-1],
        tensor(BIAS) + tensor(KERNEL) + b"\0",
        tensor(BIAS, FLOAT64) + tensor(KERNEL),
    ],
    ids=["empty", "one short", "cut off", "too long", "other numbers"],
)
def test_parameters_that_do_not_fit_the_program_are_refused(tmp_path: Path, parameters: bytes) -> None:
    with pytest.raises(CardError):
        read_paddle(write_model(tmp_path, parameters))


@pytest.mark.parametrize("program", [b"", b"\x0f", b"\x0a\xff\xff\xff", field(1, b"\x1a\x02\x08\x01")])
def test_a_program_of_something_else_is_refused(tmp_path: Path, program: bytes) -> None:
    write_model(tmp_path, tensor(BIAS) + tensor(KERNEL))
    (tmp_path / "inference.pdmodel").write_bytes(program)
    with pytest.raises(CardError):
        read_paddle(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CardError, match=r"inference\.pdmodel"):
        read_paddle(tmp_path)
