"""Look at photos and store what is seen, chunk by chunk.

One pool with as many threads as cores does everything (decoders and engines release the GIL), and every pass runs on
one core, so nothing fights for a core. While one chunk is written, the nets' passes over the next are queued, and the
one after that is being decoded: no core waits. Each photo is read and decoded once for all backbones; backbones with
the same framing share its pixels. Three chunks bound the memory, whatever the number of photos; where the weights are
very large, some backbones look after the others, whatever their number.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from manyeyes.backbones.backbone import Backbone, Embedding
from manyeyes.backbones.card import Interpolation
from manyeyes.backbones.nets import FINAL
from manyeyes.backbones.preprocess import frame
from manyeyes.features.darkroom import Darkroom
from manyeyes.features.space import THUMBNAIL_SIDE, THUMBNAILS, Space
from manyeyes.features.store import Store
from manyeyes.features.writer import SECONDS, ShardWriter
from manyeyes.images import Rejected, thumbnail
from manyeyes.progress import counting
from manyeyes.threads import cores

# Photos of a chunk: as many as give every core a pass of one backbone, within these bounds.
CHUNK, MOST = 64, 512
# Bytes of weights that are held at the same time; networks take about three times as much.
ROOM = 2 * 2**30

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

    def of_group(self, names: Set[str], thumbnails: set[str]) -> "Lack":
        """What these backbones must look at, and what lacks one of these thumbnails."""
        by_tap = {key: photos for key, photos in self.by_tap.items() if key[0] in names}
        wanted = thumbnails.union(*by_tap.values())
        return Lack({photo: path for photo, path in self.paths.items() if photo in wanted}, by_tap, thumbnails)


@dataclass(frozen=True)
class _Framed:
    """A decoded photo as the backbones want it; the full image is not kept."""

    sha256: str
    thumbnail: Pixels
    pixels: dict[Framing, Pixels]


# A chunk that is being decoded, photo by photo.
_Decoding = list[tuple[str, "Future[_Framed | Rejected]"]]


@dataclass(frozen=True)
class _Looking:
    """A chunk that the backbones are looking at: the passes over it that are queued, by backbone and photo."""

    framed: list[_Framed]
    refused: dict[str, Rejected]
    passes: dict[str, tuple[list[str], list[Future[Embedding]]]]


def fill(
    store: Store,
    spaces: Spaces,
    backbones: Sequence[Backbone],
    lack: Lack,
    pool: ThreadPoolExecutor,
    patience: float = SECONDS,
    darkroom: Darkroom | None = None,
) -> dict[str, Rejected]:
    """Look at every photo of ``lack`` and store what was missing. Returns those that could not be decoded.

    What was seen is written when it has waited for ``patience`` seconds, or when there is enough of it. The photos are
    developed in the ``darkroom``, or in one that keeps nothing.
    """
    darkroom = darkroom or Darkroom()
    refused: dict[str, Rejected] = {}
    groups, thumbnails = _groups(backbones), lack.thumbnails
    for group in groups:
        mine = lack.of_group({backbone.card.name for backbone in group}, thumbnails)
        refused |= _fill(ShardWriter(store, patience), spaces, group, mine, pool, darkroom)
        thumbnails = set()
        if len(groups) > 1:
            for backbone in group:
                backbone.release()
    return refused


def _groups(backbones: Sequence[Backbone]) -> list[list[Backbone]]:
    """Backbones whose weights are held at the same time: mostly all of them."""
    groups: list[list[Backbone]] = [[]]
    for backbone in backbones:
        if groups[-1] and sum(each.bytes for each in [*groups[-1], backbone]) > ROOM:
            groups.append([])
        groups[-1].append(backbone)
    return groups


def _fill(
    writer: ShardWriter,
    spaces: Spaces,
    backbones: list[Backbone],
    lack: Lack,
    pool: ThreadPoolExecutor,
    darkroom: Darkroom,
) -> dict[str, Rejected]:
    refused: dict[str, Rejected] = {}
    what = f"{len(backbones)} backbones look at"
    with counting(what, len(lack.paths), "photos") as advance, writer:
        crew = _Crew(backbones, lack, pool, advance, darkroom)
        chunks = _chunks(list(lack.paths.items()), backbones)
        for chunk in _one_ahead(map(crew.start_looking, _one_ahead(map(crew.start_decoding, chunks)))):
            refused |= chunk.refused
            for backbone in backbones:
                photos, passes = chunk.passes[backbone.card.name]
                embeddings = [one.result() for one in passes]
                for tap in backbone.taps:
                    key = backbone.card.name, tap
                    _keep_tap(writer, spaces[key], tap, photos, embeddings, lack.by_tap[key])
            _keep_thumbnails(writer, chunk.framed, lack.thumbnails)
            writer.write_if_due()
            del chunk  # or its pixels live on while a fourth chunk is being decoded
    return refused


class _Crew:
    """Backbones that look at the same photos: starts their work in the pool, and says how much of it is done."""

    def __init__(
        self,
        backbones: list[Backbone],
        lack: Lack,
        pool: ThreadPoolExecutor,
        advance: Callable[[float], None],
        darkroom: Darkroom,
    ) -> None:
        self._backbones = backbones
        self._framings = {backbone.card.name: backbone.card.preprocessing.framing for backbone in backbones}
        self._wanted = {name: lack.of_backbone(name) for name in self._framings}
        self._pool = pool
        self._advance = advance
        self._darkroom = darkroom

    def start_decoding(self, chunk: list[tuple[str, str]]) -> _Decoding:
        return [
            (photo, self._start(self._share(photo), _frame, self._darkroom, photo, path, self._wants(photo)))
            for photo, path in chunk
        ]

    def start_looking(self, decoding: _Decoding) -> _Looking:
        outcomes = {photo: future.result() for photo, future in decoding}
        refused = {photo: outcome for photo, outcome in outcomes.items() if isinstance(outcome, Rejected)}
        self._advance(sum(1 - self._share(photo) for photo in refused))
        framed = [outcome for outcome in outcomes.values() if isinstance(outcome, _Framed)]
        return _Looking(framed, refused, {b.card.name: self._start_passes(b, framed) for b in self._backbones})

    def _start_passes(self, backbone: Backbone, framed: list[_Framed]) -> tuple[list[str], list[Future[Embedding]]]:
        mine = [photo for photo in framed if photo.sha256 in self._wanted[backbone.card.name]]
        if not mine:
            return [], []
        size = backbone.batch  # this builds the network, in one thread, before several ask for it
        batches = [mine[start : start + size] for start in range(0, len(mine), size)]
        shares = [sum(self._share(photo.sha256) for photo in batch) for batch in batches]
        passes = [self._start(share, _look, backbone, batch) for share, batch in zip(shares, batches, strict=True)]
        return [photo.sha256 for photo in mine], passes

    def _wants(self, photo: str) -> set[Framing]:
        return {self._framings[name] for name, wanted in self._wanted.items() if photo in wanted}

    def _share(self, photo: str) -> float:
        """How much of a photo's work each step is: to decode it, and to look at it with each backbone that must."""
        return 1 / (1 + sum(photo in wanted for wanted in self._wanted.values()))

    def _start(self, share: float, work: Callable[..., T], *arguments: Any) -> Future[T]:
        future = self._pool.submit(work, *arguments)
        future.add_done_callback(lambda _: self._advance(share))
        return future


def _chunks(todo: list[tuple[str, str]], backbones: list[Backbone]) -> Iterator[list[tuple[str, str]]]:
    """The photos in order. While no network is built, and nobody knows yet what it wants, chunks are small."""
    start = 0
    while start < len(todo):
        busy = max((cores() * backbone.batch for backbone in backbones if backbone.is_built), default=CHUNK)
        size = max(CHUNK, min(busy, MOST))
        yield todo[start : start + size]
        start += size


def _one_ahead(started: Iterable[T]) -> Iterator[T]:
    """Each item, after the one that follows it was started."""
    waiting: list[T] = []
    for item in started:
        waiting.append(item)
        if len(waiting) == 2:
            yield waiting.pop(0)
    yield from waiting


def _frame(darkroom: Darkroom, sha256: str, path: str, framings: set[Framing]) -> _Framed | Rejected:
    image = darkroom.develop(sha256, path)
    if isinstance(image, Rejected):
        return image
    pixels = {framing: frame(image, *framing) for framing in framings}
    return _Framed(sha256, thumbnail(image, THUMBNAIL_SIDE), pixels)


def _look(backbone: Backbone, batch: list[_Framed]) -> Embedding:
    framing = backbone.card.preprocessing.framing
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
