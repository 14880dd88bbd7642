"""Out of a pickle come arrays or a CardError, and nothing in it is ever run."""

import os
import pickle
import struct
import tracemalloc
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from manyeyes.backbones.nets.pickled import read_pickled_arrays
from manyeyes.errors import CardError

KERNEL = np.arange(6, dtype=np.float32).reshape(2, 3)
BIAS = np.ones(2, np.float32)
# The protocols of the years in which such files were written.
PROTOCOLS = (3, 4)


def written(folder: Path, content: bytes) -> Path:
    path = folder / "weights.pkl"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nested_arrays_come_back_by_path(tmp_path: Path, protocol: int) -> None:
    content = pickle.dumps({"conv1": [KERNEL, BIAS], "deep": {"er": np.asfortranarray(KERNEL)}}, protocol)
    arrays = read_pickled_arrays(written(tmp_path, content))
    assert arrays.keys() == {"conv1/0", "conv1/1", "deep/er"}
    for name, array in [("conv1/0", KERNEL), ("conv1/1", BIAS), ("deep/er", KERNEL)]:
        np.testing.assert_array_equal(arrays[name], array)


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_files_of_old_and_new_numpy_are_read(tmp_path: Path, module: bytes) -> None:
    content = pickle.dumps([BIAS], 3)
    for name in (b"numpy.core.multiarray", b"numpy._core.multiarray"):
        content = content.replace(b"c" + name + b"\n", b"c" + module + b"\n")
    np.testing.assert_array_equal(read_pickled_arrays(written(tmp_path, content))["0"], BIAS)


class Hostile:
    """Runs a function of our choice in whoever unpickles it."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> Any:
        return self._call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("function", [os.mkdir, Path.mkdir, eval])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path, protocol: int, function: Any) -> None:
    target = tmp_path / "run"
    argument = {eval: f"__import__('os').mkdir({str(target)!r})", Path.mkdir: target}.get(function, str(target))
    content = pickle.dumps({"conv1": [KERNEL, Hostile(function, argument)]}, protocol)
    pickle.loads(content)
    assert target.exists(), "this pickle is not hostile: the test would prove nothing"
    target.rmdir()
    with pytest.raises(CardError, match="cannot be read as a pickle of arrays"):
        read_pickled_arrays(written(tmp_path, content))
    assert not target.exists()


@pytest.mark.parametrize(
    "content",
    [
        {"conv1": "text"},
        {"conv1": np.array([1, 2])},
        {"conv1": np.array([None, "x"], dtype=object)},
        OrderedDict(conv1=BIAS),
        {"conv1": np.float64(1)},
    ],
    ids=["text", "integers", "objects", "other container", "scalar"],
)
def test_anything_but_dicts_lists_and_float_arrays_is_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(CardError):
        read_pickled_arrays(written(tmp_path, pickle.dumps(content, 3)))


def test_a_pickle_that_holds_itself_is_refused(tmp_path: Path) -> None:
    content: list[Any] = [BIAS]
    content.append(content)
    with pytest.raises(CardError):
        read_pickled_arrays(written(tmp_path, pickle.dumps(content, 3)))


def damaged(position: int, byte: int) -> bytes:
    content = bytearray(pickle.dumps({"conv1": [KERNEL, BIAS]}, 3))
    content[position % len(content)] = byte
    return bytes(content)


@example(position=146, byte=ord("q"), length=400).via("numpy's own dtype ended the process at this one")
@example(position=90, byte=ord("r"), length=400).via("the memo grew to tens of gigabytes at this one")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 244), byte=st.integers(0, 255), length=st.integers(0, 400))
def test_a_damaged_pickle_gives_arrays_or_a_card_error(tmp_path: Path, position: int, byte: int, length: int) -> None:
    try:
        arrays = read_pickled_arrays(written(tmp_path, damaged(position, byte)[:length]))
    except CardError:
        return
    assert all(isinstance(array, np.ndarray) and array.dtype.kind == "f" for array in arrays.values())


MANY = 2**24  # as places of the memo, as bytes or as numbers: 16 MB or more


def array_of_shape(*shape: int) -> bytes:
    """A pickle of an array that says it has this shape, with room for two numbers."""
    state = (1, shape, np.dtype(np.float32), False, BIAS.tobytes())
    return pickle.dumps(WithState(np.empty(0, np.float32).__reduce__()[:2], state), 3)


class WithState:
    def __init__(self, made_by: Any, state: Any) -> None:
        self._reduced = (*made_by, state)

    def __reduce__(self) -> Any:
        return self._reduced


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x03]r" + struct.pack("<I", MANY) + b".",
        b"\x80\x03]p%d\n." % MANY,
        b"\x80\x03B" + struct.pack("<I", MANY) + b"abc.",
        b"\x80\x03X" + struct.pack("<I", MANY) + b"abc.",
        b"\x80\x04\x8e" + struct.pack("<Q", MANY) + b"abc.",
        b"\x80\x04\x95" + struct.pack("<Q", MANY) + b"abc.",
        b"\x80\x05\x96" + struct.pack("<Q", MANY) + b"abc.",
        array_of_shape(MANY),
        array_of_shape(MANY, MANY),
        array_of_shape(-1, 1),
    ],
    ids=["memo", "memo in digits", "bytes", "text", "long bytes", "frame", "bytearray", "shape", "area", "negative"],
)
def test_what_a_pickle_asks_for_is_not_given_before_it_is_there(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path, content)
    tracemalloc.start()
    try:
        with pytest.raises(CardError):
            read_pickled_arrays(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_every_kind_of_float_is_read_in_either_byte_order(tmp_path: Path) -> None:
    arrays = {code: KERNEL.astype(code) for code in ("<f2", ">f2", "<f4", ">f4", "<f8", ">f8")}
    read = read_pickled_arrays(written(tmp_path, pickle.dumps(arrays, 3)))
    for code, array in arrays.items():
        assert read[code].dtype == array.dtype
        np.testing.assert_array_equal(read[code], KERNEL)
