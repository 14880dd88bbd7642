"""Look at photos and store what is seen, chunk by chunk.

One pool with as many threads as cores does everything (Pillow and torch release the GIL): decoding of the next chunk
goes on beside the nets' passes over this one, and every pass runs on one core, so nothing fights for a core. Each photo
is read and decoded once for all backbones; backbones with the same framing share its pixels. Chunks bound the memory.
"""

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from manyeyes.backbones.backbone import Backbone, Embedding
from manyeyes.backbones.card import Interpolation
from manyeyes.backbones.nets import FINAL
from manyeyes.backbones.preprocess import frame
from manyeyes.features.space import THUMBNAIL_SIDE, THUMBNAILS, Space
from manyeyes.features.store import FeatureStore
from manyeyes.images import Reason, Rejected, decode, read_bytes, thumbnail
from manyeyes.progress import counting

# Photos between two writes to the store: what a kill can lose at most.
CHUNK = 64
BATCH = 16

Framing = tuple[int, float, Interpolation]
Pixels = npt.NDArray[np.uint8]
# By backbone and tap.
Spaces = Mapping[tuple[str, str], Space]


@dataclass(frozen=True)
class Lack:
    """What the store lacks: photos (sha256 → one of their paths), and which of them each tap of a backbone must see."""

    paths: dict[str, str]
    by_tap: Mapping[tuple[str, str], set[str]]
    thumbnails: set[str]

    def of_backbone(self, name: str) -> set[str]:
        """The photos that a backbone must look at, for one tap or another."""
        return set().union(*(photos for (backbone, _), photos in self.by_tap.items() if backbone == name))


@dataclass(frozen=True)
class _Framed:
    """A decoded photo as the backbones want it; the full image is not kept."""

    sha256: str
    thumbnail: Pixels
    pixels: dict[Framing, Pixels]


def fill(
    store: FeatureStore,
    spaces: Spaces,
    backbones: Sequence[Backbone],
    lack: Lack,
    pool: ThreadPoolExecutor,
) -> dict[str, Rejected]:
    """Look at every photo of ``lack`` and store what was missing. Returns those that could not be decoded."""
    refused: dict[str, Rejected] = {}
    todo = list(lack.paths.items())
    chunks = [todo[start : start + CHUNK] for start in range(0, len(todo), CHUNK)]
    framings = {b.card.name: b.card.preprocessing.framing for b in backbones}
    by_backbone = {name: lack.of_backbone(name) for name in framings}

    def start_decoding(chunk: list[tuple[str, str]]) -> list[Future[_Framed | Rejected]]:
        wanted = [{framings[name] for name in framings if photo in by_backbone[name]} for photo, _ in chunk]
        return [pool.submit(_decode, *photo, wants) for photo, wants in zip(chunk, wanted, strict=True)]

    with counting(f"{len(backbones)} backbones look at", len(todo), "photos") as advance:
        decoding = start_decoding(chunks[0]) if chunks else []
        for index, chunk in enumerate(chunks):
            outcomes = [future.result() for future in decoding]
            refused |= {sha: bad for (sha, _), bad in zip(chunk, outcomes, strict=True) if isinstance(bad, Rejected)}
            framed = [photo for photo in outcomes if isinstance(photo, _Framed)]
            looking = [_start_looking(pool, b, framed, by_backbone[b.card.name]) for b in backbones]
            decoding = start_decoding(chunks[index + 1]) if index + 1 < len(chunks) else []
            for backbone, (photos, passes) in zip(backbones, looking, strict=True):
                embeddings = [one.result() for one in passes]
                for tap in backbone.taps:
                    key = backbone.card.name, tap
                    _store_tap(store, spaces[key], tap, photos, embeddings, lack.by_tap[key])
            _store_thumbnails(store, framed, lack.thumbnails)
            advance(len(chunk))
    return refused


def _decode(sha256: str, path: str, framings: set[Framing]) -> _Framed | Rejected:
    data = read_bytes(path)
    if isinstance(data, Rejected):
        return data
    if hashlib.sha256(data).hexdigest() != sha256:
        return Rejected(path, Reason.UNREADABLE, "the file changed while it was being read")
    image = decode(data, path)
    if isinstance(image, Rejected):
        return image
    pixels = {framing: frame(image, *framing) for framing in framings}
    return _Framed(sha256, thumbnail(image, THUMBNAIL_SIDE), pixels)


def _start_looking(
    pool: ThreadPoolExecutor, backbone: Backbone, framed: list[_Framed], missing: set[str]
) -> tuple[list[str], list[Future[Embedding]]]:
    mine = [photo for photo in framed if photo.sha256 in missing]
    if mine:
        _ = backbone.encoder  # built here, in one thread, before several ask for it
    batches = [mine[start : start + BATCH] for start in range(0, len(mine), BATCH)]
    framing = backbone.card.preprocessing.framing
    passes = [pool.submit(backbone.embed, np.stack([photo.pixels[framing] for photo in batch])) for batch in batches]
    return [photo.sha256 for photo in mine], passes


def _store_thumbnails(store: FeatureStore, framed: list[_Framed], missing: set[str]) -> None:
    mine = [photo for photo in framed if photo.sha256 in missing]
    if mine:
        pixels = np.stack([photo.thumbnail for photo in mine])
        store.write(THUMBNAILS, [photo.sha256 for photo in mine], {"pixels": pixels})


def _store_tap(
    store: FeatureStore, space: Space, tap: str, photos: list[str], embeddings: list[Embedding], missing: set[str]
) -> None:
    rows = [row for row, photo in enumerate(photos) if photo in missing]
    if rows:
        columns = {name: values[rows] for name, values in _columns(embeddings, tap).items()}
        store.write(space, [photos[row] for row in rows], columns)


def _columns(embeddings: list[Embedding], tap: str) -> dict[str, npt.NDArray[Any]]:
    """What is stored of one tap: h, and beside the final features the source labels of a backbone that has a head."""
    columns: dict[str, npt.NDArray[Any]] = {"h": np.concatenate([one.blocks[tap] for one in embeddings])}
    index = [one.label_index for one in embeddings if one.label_index is not None]
    probability = [one.label_probability for one in embeddings if one.label_probability is not None]
    if tap == FINAL and index and probability:
        columns |= {"label_index": np.concatenate(index), "label_probability": np.concatenate(probability)}
    return columns
