"""The same extraction on all cores of a machine, or on many machines, by Ray.

Paths go out in batches to actors, each of which holds the backbones and owns one core (or a graphics card and its share
of the cores). An actor reads, hashes and decodes photos, looks at those that the store lacks, writes one shard a space
and batch, and answers only with hashes and rejections. When an actor dies, Ray starts another and gives it the batch
again: shards bear the hash of their content, so what was written twice is there once, or twice with the same rows.
"""

import hashlib
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from manyeyes.backbones.backbone import Backbone
from manyeyes.errors import ClusterError, ManyEyesError, StoreError
from manyeyes.features.cluster import Workers, open_cluster
from manyeyes.features.extract import Filling, plan, spaces_of
from manyeyes.features.eyes import Eyes
from manyeyes.features.pipeline import Spaces, fill
from manyeyes.features.shard import Keys, to_keys
from manyeyes.features.space import THUMBNAILS, Space
from manyeyes.features.store import FeatureStore
from manyeyes.home import is_offline, network_off
from manyeyes.images import Rejected, read_bytes
from manyeyes.places import is_url
from manyeyes.progress import counting, waiting
from manyeyes.threads import open_pool, use_cores

# Photos of a batch: what a killed actor does again, and the rows of its shards. Fewer when there are few photos.
LEAST, MOST = 16, 512
BATCHES_FOR_EACH_ACTOR = 4
# How often a batch is tried again, and an actor started again, before the run is given up.
RETRIES, RESTARTS = 3, 20
# Photos behind URLs that an actor asks for at once: each waits for the network.
LANES = 8

# What became of each photo of a batch, and which of them had to be looked at.
Answer = tuple[list[str | Rejected], set[str]]


def fill_store_with_ray(
    paths: Sequence[str],
    eyes: Eyes,
    backbones: Sequence[Backbone],
    store: FeatureStore,
    address: str | None = None,
    cores: int | None = None,
) -> Filling:
    """As :func:`manyeyes.features.extract.fill_store`, by a Ray cluster.

    ``backbones`` are what ``eyes`` loads on this machine. ``address`` is that of a cluster (``auto``: the one of this
    machine); without, one is started here for this call, with ``cores`` cores (when None, those that this process may
    use). Photos, store and local weights must be found under the same paths and URLs on every machine of the cluster;
    weights that a machine lacks are fetched there. Raises MissingExtraError, ClusterError when the cluster cannot be
    used or its workers die again and again, and whatever looking raises.
    """
    spaces = spaces_of(backbones)
    # What a worker's own processor could do does not decide in what precision it looks, nor its settings where.
    precision = tuple(backbone.precision for backbone in backbones)
    eyes = replace(eyes, precision=precision, offline=eyes.offline or is_offline())
    outcomes: dict[int, list[str | Rejected]] = {}
    looked: set[str] = set()
    with open_cluster(address, cores) as workers:
        size = min(max(len(paths) // (BATCHES_FOR_EACH_ACTOR * workers.count), LEAST), MOST)
        batches = {start: paths[start : start + size] for start in range(0, len(paths), size)}
        with waiting("reading what the store holds"):
            held = Held(store, spaces.values())
        actors = _start_actors(min(workers.count, len(batches)), workers, eyes, spaces, store, held, len(paths))
        with counting(f"{len(actors)} workers look at", len(paths), "photos") as advance:
            for start, (found, new) in _share_out(batches, actors):
                outcomes[start] = [
                    replace(outcome, path=path) if isinstance(outcome, Rejected) else outcome
                    for path, outcome in zip(batches[start], found, strict=True)
                ]
                looked |= new
                advance(len(found))
    if looked and size < MOST:  # a large run writes no small shards
        for space in (*spaces.values(), THUMBNAILS):
            store.gather(space.folder)
    return Filling(tuple(chain.from_iterable(outcomes[start] for start in batches)), len(looked))


class Held:
    """Which photos each space of a store lists: small enough to be sent to every machine of a cluster."""

    def __init__(self, store: FeatureStore, spaces: Iterable[Space]) -> None:
        self._keys: dict[str, Keys] = {}
        for space in (*spaces, THUMBNAILS):
            keys = store.held(space)
            # Mostly all spaces hold the same photos: one array for all of them.
            same = (known for known in self._keys.values() if np.array_equal(known, keys))
            self._keys[space.folder] = next(same, keys)

    def missing(self, space: Space, photos: Sequence[str]) -> list[str]:
        """Those of ``photos`` that the space lacks."""
        is_held = _is_in(self._keys[space.folder], to_keys(photos))
        return [photo for photo, found in zip(photos, is_held.tolist(), strict=True) if not found]

    def has_all_of(self, photo: str) -> bool:
        """Whether every space lists the photo."""
        return all(_is_in(keys, to_keys([photo])).all() for keys in self._keys.values())


def _is_in(keys: Keys, asked: Keys) -> Any:
    if not len(keys):
        return np.zeros(len(asked), bool)
    return keys[np.minimum(np.searchsorted(keys, asked), len(keys) - 1)] == asked


def _start_actors(
    count: int, workers: Workers, eyes: Eyes, spaces: Spaces, store: FeatureStore, held: Held, photos: int
) -> list[Any]:
    import ray

    actor: Any = ray.remote(
        num_cpus=workers.cores, num_gpus=workers.cards, max_restarts=RESTARTS, max_task_retries=RETRIES
    )(_Looker)
    folders = {space.folder for space in spaces.values()}
    root, everywhere = _absolute(os.fspath(store.root)), ray.put(held)
    return [actor.remote(eyes, root, folders, everywhere, workers, photos // count) for _ in range(count)]


def _share_out(batches: dict[int, Sequence[str]], actors: list[Any]) -> Iterator[tuple[int, Answer]]:
    """Give each actor a batch whenever it is free; the batches and what they answer, as they come."""
    import ray

    waiting_for = iter(batches)
    # On a cluster that others use, an actor may have to wait for long until it can start: it must not hold a batch.
    running: dict[Any, tuple[Any, int | None]] = {actor.__ray_ready__.remote(): (actor, None) for actor in actors}
    answered = 0
    while answered < len(batches):
        (done,), _ = ray.wait(list(running))
        actor, start = running.pop(done)
        try:
            answer = ray.get(done)
        except ray.exceptions.RayTaskError as error:  # what looking raised
            raise (error.cause if isinstance(error.cause, ManyEyesError) else error) from None
        except ray.exceptions.RayError as error:
            raise ClusterError(_why_given_up(error, [] if start is None else batches[start])) from None
        if (following := next(waiting_for, None)) is not None:
            running[actor.look.remote(list(map(_absolute, batches[following])))] = actor, following
        if start is not None:
            answered += 1
            yield start, answer


def _why_given_up(error: Exception, batch: Sequence[str]) -> str:
    if getattr(error, "actor_init_failed", False):
        reason = str(error).strip().splitlines()[-1]
        return f"a worker of the Ray cluster cannot start: {reason}; every machine needs the same manyeyes and Python"
    where = f" while they looked at {batch[0]} … {batch[-1]}" if batch else ""
    return (
        f"workers of the Ray cluster died again and again{where} ({type(error).__name__}). All finished work is kept. "
        "Mostly memory ran out: take fewer workers (LOKY_MAX_CPU_COUNT=2), a smaller zoo, or no --ray, and run again"
    )


class _Looker:
    """An actor: looks at batches of photos.

    What can fail waits for the first batch, because Ray tells only in words of its own why an actor cannot be made.
    """

    def __init__(self, eyes: Eyes, root: str, folders: set[str], held: Held, workers: Workers, expected: int) -> None:
        use_cores(workers.cores)
        self._eyes = eyes
        self._root = root
        self._folders = folders
        self._held = held
        self._workers = workers
        self._expected = expected

    @cached_property
    def _store(self) -> FeatureStore:
        return FeatureStore(self._root)

    @cached_property
    def _backbones(self) -> list[Backbone]:
        backbones = self._eyes.load()
        if {space.folder for space in spaces_of(backbones).values()} != self._folders:
            raise StoreError("a machine of the cluster has other weights, or another manyeyes, than the one that asks")
        for backbone in backbones:
            backbone.expect(self._expected)
        return backbones

    def look(self, paths: list[str]) -> Answer:
        """See to it that the store holds what is seen of the photos at ``paths``."""
        with network_off(self._eyes.offline), open_pool() as pool, _spool(self._workers.spool) as copies:
            lanes = LANES if any(map(is_url, paths)) else self._workers.cores
            with ThreadPoolExecutor(lanes) as readers:
                found = list(readers.map(partial(take, copies=copies, held=self._held), paths))
            here = {photo: path for photo, path in found if isinstance(photo, str)}
            spaces = spaces_of(self._backbones)
            lack = plan(spaces, here, self._held.missing)
            # What was looked at is not known to be done before the whole batch is, so it is written together.
            refused = fill(self._store, spaces, self._backbones, lack, pool, math.inf)
        outcomes = [refused.get(photo, photo) if isinstance(photo, str) else photo for photo, _ in found]
        return outcomes, lack.paths.keys() - refused.keys()


def take(path: str, copies: Path, held: Held) -> tuple[str | Rejected, str]:
    """A photo's sha256, and where to look at it: what came over the network and is not held is not fetched twice.

    Raises StoreError when there is no room for it in the folder ``copies``.
    """
    data = read_bytes(path)
    if isinstance(data, Rejected):
        return data, path
    photo = hashlib.sha256(data).hexdigest()
    if not is_url(path) or held.has_all_of(photo):
        return photo, path
    copy = copies / photo
    try:
        copy.write_bytes(data)
    except OSError as error:
        raise _no_room(copies, error) from None
    return photo, str(copy)


@contextmanager
def _spool(folder: str | None) -> Iterator[Path]:
    """A folder for what a batch fetches, in ``folder`` or where temporary files go."""
    try:
        copies = tempfile.TemporaryDirectory(prefix=f"manyeyes-{os.getpid()}-", dir=folder)
    except OSError as error:
        raise _no_room(folder or "the folder for temporary files", error) from None
    with copies as name:
        yield Path(name)


def _no_room(folder: str | os.PathLike[str], error: OSError) -> StoreError:
    return StoreError(
        f"what is fetched cannot be kept for a while in {folder}: {error.strerror or error}; make room there, or set "
        "TMPDIR to a folder of another disk, and run again"
    )


def _absolute(place: str) -> str:
    """The same file or folder for a process that works in another folder."""
    return place if is_url(place) else str(Path.cwd() / place)
