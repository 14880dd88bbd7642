"""A shard: rows of named arrays by photo, as the bytes of a Parquet file whose name vouches for them."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

Columns = Mapping[str, npt.NDArray[Any]]
# The sha256 of photos, 32 bytes each.
Keys = npt.NDArray[np.bytes_]
PHOTO = "photo"


def shard_name(folder: str, data: bytes) -> str:
    """The sha256 of the space's folder and of the bytes."""
    digest = hashlib.sha256(folder.encode())
    digest.update(data)
    return f"shard-{digest.hexdigest()}.parquet"


def is_shard(name: str) -> bool:
    return name.startswith("shard-") and name.endswith(".parquet")


def read_keys(source: Any) -> Keys:
    """The photos that a Parquet file lists; whether its rows are whole is not looked at."""
    with pq.ParquetFile(source, page_checksum_verification=True) as file:
        return keys_of(file.read([PHOTO], use_threads=False))


def read_rows(data: bytes) -> pa.Table:
    return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)


def to_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    # A dictionary makes one byte of a byte, for which Parquet has no type; of numbers that differ it makes a half more.
    pq.write_table(table, sink, compression="none", write_page_checksum=True, use_dictionary=_is_bytes(table.schema))
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _is_bytes(schema: pa.Schema) -> bool:
    types = [field.type for field in schema if field.name != PHOTO]
    while any(map(pa.types.is_fixed_size_list, types)):
        types = [kind.value_type if pa.types.is_fixed_size_list(kind) else kind for kind in types]
    return all(map(pa.types.is_uint8, types))


def to_arrow(photos: Sequence[str], columns: Columns) -> pa.Table:
    arrays: dict[str, pa.Array] = {PHOTO: pa.array([bytes.fromhex(photo) for photo in photos], pa.binary(32))}
    for name, values in columns.items():
        array: pa.Array = pa.array(np.ascontiguousarray(values).reshape(-1))
        for width in reversed(values.shape[1:]):
            array = pa.FixedSizeListArray.from_arrays(array, width)
        arrays[name] = array
    return pa.table(arrays)


def from_arrow(table: pa.Table) -> dict[str, npt.NDArray[Any]]:
    columns = {}
    for name in table.column_names:
        if name != PHOTO:
            array, shape = table[name].combine_chunks(), [table.num_rows]
            while pa.types.is_fixed_size_list(array.type):
                shape.append(array.type.list_size)
                array = array.flatten()
            columns[name] = array.to_numpy(zero_copy_only=False).reshape(shape)
    return columns


def keys_of(table: pa.Table) -> Keys:
    """The photos of the rows. Raises ValueError when they are no keys."""
    column = table[PHOTO].combine_chunks()
    if column.type != pa.binary(32) or column.null_count:
        raise ValueError(f"its photos are {column.type}, not their sha256")
    if not len(column):
        return np.empty(0, "S32")
    return np.frombuffer(column.buffers()[1], "S32", len(column), 32 * column.offset)


def to_keys(photos: Sequence[str]) -> Keys:
    """Hex sha256s as keys."""
    return np.frombuffer(bytes.fromhex("".join(photos)), "S32")


def to_photos(keys: Keys) -> list[str]:
    """Keys as hex sha256s. (What numpy itself gives of a key lacks the zeros at its end.)"""
    text = keys.tobytes().hex()
    return [text[start : start + 64] for start in range(0, len(text), 64)]
