"""TensorFlow.js layers models: a ``model.json`` whose manifest cuts a row of shard files into named arrays."""

import json
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from manyeyes.backbones.nets.foreign import NamedArrays
from manyeyes.errors import CardError

MODEL = "model.json"


def read_tfjs(folder: Path) -> NamedArrays:
    """The float32 arrays of the model in ``folder``, under Keras's names, such as ``conv1/kernel``.

    Raises CardError when the folder holds no such model, or shards that are short, long or quantised.
    """
    arrays = {}
    for group in _manifest(folder):
        data = b"".join(_shard(folder, path) for path in group["paths"])
        start = 0
        for entry in group["weights"]:
            if entry["dtype"] != "float32" or "quantization" in entry:
                raise CardError(f"{folder.name}/{MODEL}: {entry['name']!r} is not stored as plain float32")
            count = prod(entry["shape"])
            if start + 4 * count > len(data):
                raise CardError(f"{folder.name}: the shards end before {entry['name']!r}")
            arrays[entry["name"]] = np.frombuffer(data, "<f4", count, start).reshape(entry["shape"])
            start += 4 * count
        if start != len(data):
            raise CardError(f"{folder.name}: the shards hold {len(data) - start} bytes more than {MODEL} names")
    return NamedArrays(folder.name, arrays)


def _manifest(folder: Path) -> list[dict[str, Any]]:
    try:
        manifest: list[dict[str, Any]] = json.loads((folder / MODEL).read_text(encoding="utf-8"))["weightsManifest"]
    except (OSError, ValueError, KeyError) as error:
        raise CardError(f"{folder.name} is no TensorFlow.js layers model: {error}") from None
    return manifest


def _shard(folder: Path, path: str) -> bytes:
    # A manifest is a stranger's: it may name files of this folder only.
    if Path(path).name != path:
        raise CardError(f"{folder.name}/{MODEL} names the shard {path!r}, which is not a file beside it")
    try:
        return (folder / path).read_bytes()
    except OSError:
        raise CardError(f"{folder.name} lacks the shard {path}") from None
