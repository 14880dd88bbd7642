"""Our reader of .mat files against scipy's writer, and against files that would crash scipy's reader."""

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.io import savemat

from manyeyes.images.datasets.matfile import LARGEST, read_array

KINDS = list("bBhHiIlLfd")


def mat(content: dict[str, Any], **options: Any) -> bytes:
    buffer = BytesIO()
    savemat(buffer, content, **options)
    return buffer.getvalue()


GOOD = [
    mat({"other": [[7, 8]], "labels": np.arange(1, 300)[None]}, do_compression=is_compressed)
    for is_compressed in (False, True)
]


@given(
    array=st.sampled_from(KINDS).flatmap(lambda kind: arrays.arrays(kind, arrays.array_shapes(max_dims=3, max_side=5))),
    name=st.text("abcdefgh_", min_size=1, max_size=12).filter(lambda name: not name.startswith("_")),
    is_compressed=st.booleans(),
)
def test_what_scipy_writes_is_read(array: np.ndarray[Any, Any], name: str, is_compressed: bool) -> None:
    found = read_array(mat({"another": [[1]], name: array}, do_compression=is_compressed), name)
    # MATLAB's arrays run down the columns.
    np.testing.assert_array_equal(found, array.ravel(order="F"))


def test_files_of_machines_with_the_other_byte_order() -> None:
    def element(kind: int, content: bytes) -> bytes:
        return struct.pack(">II", kind, len(content)) + content.ljust(-(-len(content) // 8) * 8, b"\0")

    flags, dimensions = struct.pack(">II", 6, 0), struct.pack(">ii", 1, 3)
    parts = [(6, flags), (5, dimensions), (1, b"labels"), (4, struct.pack(">HHH", 1, 2, 300))]
    matrix = element(14, b"".join(element(kind, content) for kind, content in parts))
    assert read_array(b"MATLAB".ljust(124) + b"\1\0MI" + matrix, "labels").tolist() == [1, 2, 300]


class Thing:
    def __init__(self) -> None:
        self.labels = 1


@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize(
    "content",
    [
        {"others": [[1]]},
        {"labels": np.array([["one", 2]], object)},
        {"labels": {"a": 1}},
        {"labels": "text"},
        {"labels": [[1 + 2j]]},
        {"labels": Thing()},
    ],
    ids=["another name", "a cell", "a struct", "text", "complex numbers", "an object"],
)
def test_what_is_no_plain_array(content: dict[str, Any], is_compressed: bool) -> None:
    with pytest.raises(ValueError, match="it holds no array labels of real numbers"):
        read_array(mat(content, do_compression=is_compressed), "labels")


@pytest.mark.parametrize("data", [b"", b"labels", mat({"labels": [[1]]}, format="4"), b"x" * 200])
def test_what_is_no_matlab_file_of_level_5(data: bytes) -> None:
    with pytest.raises(ValueError, match="it is not a MATLAB file of level 5"):
        read_array(data, "labels")


def test_a_file_that_swells() -> None:
    bomb = zlib.compress(bytes(LARGEST + 1))
    with pytest.raises(ValueError, match="it is too large"):
        read_array(GOOD[0][:128] + struct.pack("<II", 15, len(bomb)) + bomb, "labels")


def test_a_kind_of_number_that_does_not_exist() -> None:
    data = bytearray(GOOD[0])
    place = data.index(b"labels") + 8
    data[place : place + 4] = b"\0\0\x02\xea"
    with pytest.raises(ValueError, match=r"it holds no array|it ends too early"):
        read_array(bytes(data), "labels")


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_damaged_files_are_refused_or_read(draw: st.DataObject) -> None:
    data = bytearray(draw.draw(st.sampled_from(GOOD)))
    for place, value in draw.draw(st.lists(st.tuples(st.integers(0, 299), st.integers(0, 255)), max_size=6)):
        data[place] = value
    end = draw.draw(st.one_of(st.just(len(data)), st.integers(0, len(data))))
    try:
        assert read_array(bytes(data[:end]), "labels").ndim == 1
    except ValueError as error:
        assert str(error)
