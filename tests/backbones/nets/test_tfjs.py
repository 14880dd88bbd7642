"""A TensorFlow.js model in a folder becomes named arrays, or a CardError; never bytes of another file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from manyeyes.backbones.nets.tfjs import read_tfjs
from manyeyes.errors import CardError

KERNEL = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
BIAS = np.array([0.5, -1.5], dtype=np.float32)


def write_model(folder: Path, cut: int = 40, **changes: Any) -> Path:
    """A model of two arrays in two shards, cut in the middle of the first array; ``changes`` go into its entry."""
    data = KERNEL.tobytes() + BIAS.tobytes()
    (folder / "one.bin").write_bytes(data[:cut])
    (folder / "two.bin").write_bytes(data[cut:])
    weights = [
        {"name": "conv/kernel", "shape": list(KERNEL.shape), "dtype": "float32"} | changes,
        {"name": "conv/bias", "shape": [2], "dtype": "float32"},
    ]
    write_manifest(folder, [{"paths": ["one.bin", "two.bin"], "weights": weights}])
    return folder


def write_manifest(folder: Path, manifest: list[dict[str, Any]]) -> None:
    (folder / "model.json").write_text(json.dumps({"weightsManifest": manifest}))


@pytest.mark.parametrize("cut", [0, 40, 41, 104])
def test_arrays_that_straddle_shards_come_back_whole(tmp_path: Path, cut: int) -> None:
    arrays = read_tfjs(write_model(tmp_path, cut))
    assert arrays.keys() == {"conv/kernel", "conv/bias"}
    np.testing.assert_array_equal(arrays["conv/kernel"], KERNEL)
    np.testing.assert_array_equal(arrays["conv/bias"], BIAS)


def test_a_name_that_is_not_there_is_a_card_error(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="fc1000/kernel"):
        read_tfjs(write_model(tmp_path))["fc1000/kernel"]


@pytest.mark.parametrize("changes", [{"dtype": "int32"}, {"quantization": {"dtype": "uint8", "scale": 1, "min": 0}}])
def test_other_than_plain_float32_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(CardError, match="plain float32"):
        read_tfjs(write_model(tmp_path, **changes))


@pytest.mark.parametrize(("shape", "complaint"), [([1, 2, 3, 5], "shards end"), ([1, 2, 3, 3], "bytes more")])
def test_shards_of_another_length_are_refused(tmp_path: Path, shape: list[int], complaint: str) -> None:
    with pytest.raises(CardError, match=complaint):
        read_tfjs(write_model(tmp_path, shape=shape))


def test_a_shard_outside_the_folder_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(BIAS.tobytes())
    folder = tmp_path / "model"
    folder.mkdir()
    weights = [{"name": "conv/bias", "shape": [2], "dtype": "float32"}]
    write_manifest(folder, [{"paths": ["../secret"], "weights": weights}])
    with pytest.raises(CardError, match=r"\.\./secret"):
        read_tfjs(folder)


def test_a_missing_shard_or_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(CardError, match=r"model\.json"):
        read_tfjs(tmp_path)
    write_model(tmp_path)
    (tmp_path / "two.bin").unlink()
    with pytest.raises(CardError, match=r"two\.bin"):
        read_tfjs(tmp_path)
