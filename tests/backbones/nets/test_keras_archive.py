"""A Keras 3 archive, read without Keras."""

import sys
import zipfile
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import pytest

from manyeyes.backbones.nets.keras_xception import read_keras_archive
from manyeyes.errors import CardError, MissingExtraError

KERNEL = np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4)


def write_archive(path: Path, base: str = "layers/functional/layers", weights: str = "model.weights.h5") -> Path:
    """What Keras saves for a model in a model: the inner one's layers by kind, and an outer classifier."""
    buffer = BytesIO()
    with h5py.File(buffer, "w") as file:
        file[f"{base}/conv2d/vars/0"] = KERNEL
        file[f"{base}/conv2d_1/vars/0"] = KERNEL + 100
        file[f"{base}/batch_normalization/vars/0"] = np.ones(4)
        file.create_group(f"{base}/activation/vars")
        file["layers/dense/vars/0"] = np.zeros((4, 6))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr(weights, buffer.getvalue())
    return path


def test_the_inner_model_is_read_and_the_outer_classifier_is_not(tmp_path: Path) -> None:
    arrays = read_keras_archive(write_archive(tmp_path / "model.keras"))
    assert arrays.keys() == {"conv2d/0", "conv2d_1/0", "batch_normalization/0"}
    np.testing.assert_array_equal(arrays["conv2d_1/0"], KERNEL + 100)
    assert arrays["batch_normalization/0"].dtype == np.float32


@pytest.mark.parametrize("wrong", [{"base": "layers/sequential/layers"}, {"weights": "other.h5"}])
def test_an_archive_of_something_else_is_refused(tmp_path: Path, wrong: dict[str, str]) -> None:
    with pytest.raises(CardError, match=r"model\.keras"):
        read_keras_archive(write_archive(tmp_path / "model.keras", **wrong))


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(b"not a zip")
    with pytest.raises(CardError, match=r"model\.keras"):
        read_keras_archive(path)


def test_without_h5py_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r"manyeyes\[mirror\]"):
        read_keras_archive(tmp_path / "model.keras")
