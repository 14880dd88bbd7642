"""Vectors of the classes, from a small GloVe file and from packages of a test's own index."""

import json
import logging
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors import safe_open

from manyeyes.backbones.sources import sha256_of
from manyeyes.errors import ChecksumError, OfflineError, UnknownNameError, WordVectorError
from manyeyes.home import cache_home
from manyeyes.label_space import readers, vectors
from manyeyes.label_space.names import class_names
from manyeyes.label_space.vectors import PACKAGES, label_vectors

WORDS = {"tench": [1, 2], "ice": [0, 4], "cream": [2, 0], "shark": [5, 5], "white": [-1, 1], "the": [9, 9]}


def write_glove(path: Path, words: dict[str, list[float]]) -> Path:
    path.write_text("".join(f"{word} {' '.join(map(str, numbers))}\n" for word, numbers in words.items()))
    return path


@pytest.fixture
def glove(tmp_path: Path) -> Path:
    return write_glove(tmp_path / "glove.tiny.2d.txt", WORDS)


def of(name: str) -> int:
    return next(index for index, synonyms in enumerate(class_names()) if synonyms[0] == name)


def test_a_class_has_the_vector_of_its_name_or_the_mean_of_its_words(glove: Path) -> None:
    V = label_vectors(str(glove), 0)
    assert V.shape == (1000, 2) and V.dtype == np.float32
    assert V[of("tench")].tolist() == [1, 2]
    assert V[of("ice cream")].tolist() == [1, 2]
    assert V[of("great white shark")].tolist() == [2, 3]


def test_a_class_without_a_known_word_has_the_mean_vector_and_is_named(
    glove: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        V = label_vectors(str(glove), 0)
    known = [of(name) for name in ("tench", "ice cream", "great white shark")]
    assert "goldfish" in caplog.text and "tench" not in caplog.text
    assert (V[of("goldfish")] == V[of("kuvasz")]).all()
    assert not (V[known] == V[of("goldfish")]).all(axis=1).any()


def test_a_file_that_has_changed_is_read_anew(glove: Path) -> None:
    before = label_vectors(str(glove), 0)
    write_glove(glove, {**WORDS, "tench": [1.5, 2.25]})
    assert label_vectors(str(glove), 0)[of("tench")].tolist() == [1.5, 2.25]
    assert before[of("tench")].tolist() == [1, 2]


def test_random_vectors_are_those_of_the_seed() -> None:
    one, again, other = (label_vectors("random", seed) for seed in (1, 1, 2))
    assert one.shape == (1000, 300)
    assert np.array_equal(one, again) and not np.array_equal(one, other)


@pytest.mark.parametrize("line", ["tench 1", "tench 1 2 3", "tench one two", "tench nan 1"])
def test_a_line_that_is_no_word_vector_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "glove.txt"
    path.write_text(f"the 1 2\n{line}\n")
    with pytest.raises(WordVectorError, match=r"line 2 of .*glove\.txt is not a word and 2 numbers"):
        label_vectors(str(path), 0)


def test_a_file_of_other_words_is_refused(tmp_path: Path) -> None:
    path = write_glove(tmp_path / "vettori.txt", {"perché": [1.0, 2.0]})
    with pytest.raises(WordVectorError, match="holds no word of any class name"):
        label_vectors(str(path), 0)


def test_what_is_neither_a_name_nor_a_file_is_an_error_that_lists_the_names() -> None:
    with pytest.raises(UnknownNameError, match="random, glove-50d, wink-100d, or give the path"):
        label_vectors("glove-51d", 0)


@pytest.mark.parametrize("name", PACKAGES)
def test_without_a_network_nothing_is_fetched(name: str) -> None:
    with pytest.raises(OfflineError, match=f"the word vectors {name} are not on this machine"):
        label_vectors(name, 0)


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package like the real one, where pip looks for it."""
    index = tmp_path / "index"
    index.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    np.save(tmp_path / "emb.npy", np.array(list(WORDS.values()), np.float32))
    pq.write_table(pa.table({"index": list(WORDS)}), tmp_path / "index.parquet")
    path = index / "toy_words-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(tmp_path / "emb.npy", "toy_words/data/emb.npy")
        archive.write(tmp_path / "index.parquet", "toy_words/data/index.parquet")
        archive.writestr("toy_words-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy-words\nVersion: 1.0\n")
        archive.writestr(
            "toy_words-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("toy_words-1.0.dist-info/RECORD", "")
    toy = replace(PACKAGES["glove-50d"], where="toy-words==1.0", inside="toy_words/data", sha256=sha256_of(path))
    monkeypatch.setitem(vectors.PACKAGES, "glove-50d", toy)
    return path


def test_a_package_is_fetched_once_and_only_the_classes_vectors_are_kept(
    wheel: Path, glove: Path, online: None
) -> None:
    V = label_vectors("glove-50d", 0)
    assert np.array_equal(V, label_vectors(str(glove), 0))
    wheel.unlink()
    assert np.array_equal(label_vectors("glove-50d", 0), V)
    (kept,) = (cache_home() / "label-space").glob("*.safetensors")
    assert [path.suffix for path in kept.parent.iterdir() if path != kept] == [".lock"]
    with safe_open(kept, "np") as file:
        assert file.metadata() == {"source": "wheel:toy-words==1.0", "licence": "PDDL-1.0"}


def test_a_package_with_other_bytes_is_refused(wheel: Path, online: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vectors.PACKAGES, "glove-50d", replace(vectors.PACKAGES["glove-50d"], sha256="0" * 64))
    with pytest.raises(ChecksumError):
        label_vectors("glove-50d", 0)
    assert not list((cache_home() / "label-space").glob("*.safetensors"))


def test_the_npm_packages_json_is_read_without_its_last_two_numbers(tmp_path: Path) -> None:
    path = tmp_path / "wink.json"
    words = {"tench": [0.5, -1.0, 9.0, 0], 'a"b': [1, 1, 1, 1], "[": [2, 2, 2, 2], "shark": [1e-3, 2, 9.0, 3]}
    path.write_text(json.dumps({"size": 4, "words": list(words), "vectors": words}, separators=(",", ":")))
    found = readers.read_wink(path, {"tench", "shark", "carp"})
    assert {word: vector.tolist() for word, vector in found.items()} == {
        "tench": [0.5, -1.0],
        "shark": [pytest.approx(1e-3), 2.0],
    }


@pytest.mark.index
@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
@pytest.mark.parametrize(("name", "dimension"), [("glove-50d", 50), ("wink-100d", 100)])
def test_the_real_packages_know_almost_all_classes(name: str, dimension: int) -> None:
    V = label_vectors(name, 0)
    assert V.shape == (1000, dimension)
    _, counts = np.unique(V, axis=0, return_counts=True)
    assert counts.max() < 20
    unit = V / np.linalg.norm(V, axis=1, keepdims=True)
    terriers, others = unit[179:204].mean(axis=0), unit[500:900].mean(axis=0)
    assert terriers @ unit[of("beagle")] > others @ unit[of("beagle")] + 0.1
