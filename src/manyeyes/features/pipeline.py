"""Look at photos and store what is seen, chunk by chunk.

One pool with as many threads as cores does everything (decoders and engines release the GIL), and every pass runs on
one core, so nothing fights for a core. While one chunk is written, the nets' passes over the next are queued, and the
one after that is being decoded: no core waits. Each photo is read and decoded once for all backbones; backbones with
the same framing share its pixels. Three chunks bound the memory, whatever the number of photos.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from manyeyes.backbones.backbone import Backbone, Embedding
from manyeyes.backbones.card import Interpolation
from manyeyes.backbones.nets import FINAL
from manyeyes.backbones.preprocess import frame
from manyeyes.features.space import THUMBNAIL_SIDE, THUMBNAILS, Space
from manyeyes.features.store import FeatureStore
from manyeyes.features.writer import ShardWriter
from manyeyes.images import Reason, Rejected, decode, read_bytes, thumbnail
from manyeyes.progress import counting

CHUNK = 64

Framing = tuple[int, float, Interpolation]
Pixels = npt.NDArray[np.uint8]
T = TypeVar("T")
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


@dataclass(frozen=True)
class _Looking:
    """A chunk that the backbones are looking at: the passes over it that are queued, by backbone and photo."""

    framed: list[_Framed]
    refused: dict[str, Rejected]
    passes: dict[str, tuple[list[str], list[Future[Embedding]]]]


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
    framings = {b.card.name: b.card.preprocessing.framing for b in backbones}
    by_backbone = {name: lack.of_backbone(name) for name in framings}
    for backbone in backbones:
        backbone.expect(len(by_backbone[backbone.card.name]))

    def start_decoding(chunk: list[tuple[str, str]]) -> list[tuple[str, Future[_Framed | Rejected]]]:
        wanted = [{framings[name] for name in framings if photo in by_backbone[name]} for photo, _ in chunk]
        return [
            (photo, pool.submit(_decode, photo, path, wants))
            for (photo, path), wants in zip(chunk, wanted, strict=True)
        ]

    def start_looking(decoding: list[tuple[str, Future[_Framed | Rejected]]]) -> _Looking:
        outcomes = {photo: future.result() for photo, future in decoding}
        bad = {photo: outcome for photo, outcome in outcomes.items() if isinstance(outcome, Rejected)}
        framed = [outcome for outcome in outcomes.values() if isinstance(outcome, _Framed)]
        return _Looking(
            framed, bad, {b.card.name: _queue(pool, b, framed, by_backbone[b.card.name]) for b in backbones}
        )

    with counting(f"{len(backbones)} backbones look at", len(todo), "photos") as advance, ShardWriter(store) as writer:
        chunks = (todo[start : start + CHUNK] for start in range(0, len(todo), CHUNK))
        for chunk in _one_ahead(map(start_looking, _one_ahead(map(start_decoding, chunks)))):
            refused |= chunk.refused
            for backbone in backbones:
                photos, passes = chunk.passes[backbone.card.name]
                embeddings = [one.result() for one in passes]
                for tap in backbone.taps:
                    key = backbone.card.name, tap
                    _keep_tap(writer, spaces[key], tap, photos, embeddings, lack.by_tap[key])
            _keep_thumbnails(writer, chunk.framed, lack.thumbnails)
            writer.write_if_due()
            advance(len(chunk.framed) + len(chunk.refused))
    return refused


def _one_ahead(started: Iterable[T]) -> Iterator[T]:
    """Each item, after the one that follows it was started."""
    waiting: list[T] = []
    for item in started:
        waiting.append(item)
        if len(waiting) == 2:
            yield waiting.pop(0)
    yield from waiting


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


def _queue(
    pool: ThreadPoolExecutor, backbone: Backbone, framed: list[_Framed], missing: set[str]
) -> tuple[list[str], list[Future[Embedding]]]:
    mine = [photo for photo in framed if photo.sha256 in missing]
    if not mine:
        return [], []
    size = backbone.batch  # this builds the network, in one thread, before several ask for it
    batches = [mine[start : start + size] for start in range(0, len(mine), size)]
    framing = backbone.card.preprocessing.framing
    return [photo.sha256 for photo in mine], [pool.submit(_look, backbone, framing, batch) for batch in batches]


def _look(backbone: Backbone, framing: Framing, batch: list[_Framed]) -> Embedding:
    return backbone.embed(np.stack([photo.pixels[framing] for photo in batch]))


def _keep_thumbnails(writer: ShardWriter, framed: list[_Framed], missing: set[str]) -> None:
    mine = [photo for photo in framed if photo.sha256 in missing]
    if mine:
        pixels = np.stack([photo.thumbnail for photo in mine])
        writer.add(THUMBNAILS, [photo.sha256 for photo in mine], {"pixels": pixels})


def _keep_tap(
    writer: ShardWriter, space: Space, tap: str, photos: list[str], embeddings: list[Embedding], missing: set[str]
) -> None:
    rows = [row for row, photo in enumerate(photos) if photo in missing]
    if rows:
        columns = {name: values[rows] for name, values in _columns(embeddings, tap).items()}
        writer.add(space, [photos[row] for row in rows], columns)


def _columns(embeddings: list[Embedding], tap: str) -> dict[str, npt.NDArray[Any]]:
    """What is stored of one tap: h, and beside the final features the source labels of a backbone that has a head."""
    columns: dict[str, npt.NDArray[Any]] = {"h": np.concatenate([one.blocks[tap] for one in embeddings])}
    index = [one.label_index for one in embeddings if one.label_index is not None]
    probability = [one.label_probability for one in embeddings if one.label_probability is not None]
    if tap == FINAL and index and probability:
        columns |= {"label_index": np.concatenate(index), "label_probability": np.concatenate(probability)}
    return columns
