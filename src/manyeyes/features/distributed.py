"""The same extraction on all cores of a machine, or on many machines: a Ray Data pipeline.

Paths go out in batches to actors, each of which holds the backbones and owns one core (or a graphics card and its share
of the cores). An actor reads, hashes and decodes photos, looks at those that the store lacks, writes one shard a space
and batch, and answers only with hashes and rejections. When an actor dies, Ray starts another and gives it the batch
again: shards bear the hash of their content, so what was written twice is there once, or twice with the same rows.
"""

import hashlib
import logging
import os
import secrets
import socket
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from manyeyes import errors
from manyeyes.backbones.backbone import Backbone
from manyeyes.errors import ManyEyesError, MissingExtraError, PlaceError, StoreError
from manyeyes.features.extract import Filling, plan, spaces_of
from manyeyes.features.eyes import Eyes
from manyeyes.features.pipeline import fill
from manyeyes.features.shard import Keys, to_keys
from manyeyes.features.space import THUMBNAILS, Space
from manyeyes.features.store import FeatureStore
from manyeyes.images import Reason, Rejected, read_bytes
from manyeyes.places import is_url
from manyeyes.progress import console, counting, waiting
from manyeyes.threads import open_pool, use_cores

# Photos of a batch: what a killed actor does again, and the rows of its shards. Fewer when there are few photos.
LEAST, MOST = 16, 512
BATCHES_FOR_EACH_ACTOR = 4
# Photos behind URLs that an actor asks for at once: each waits for the network.
LANES = 8
# Read when Ray is imported, and by all that it starts. It would report how it is used, and what it logs is for others.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_DATA_LOG_LEVEL": "CRITICAL"}
# What is started here can be reached from this machine only (Ray's default on Windows and macOS), and only by us.
OURS = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}


def fill_store_with_ray(
    paths: Sequence[str], eyes: Eyes, store: FeatureStore, address: str | None = None, cores: int | None = None
) -> Filling:
    """As :func:`manyeyes.features.extract.fill_store`, by a Ray cluster.

    ``address`` is that of a cluster (``auto``: the one of this machine); without, one is started here for this call,
    with ``cores`` cores (all, when None). Photos, store and local weights must be found under the same paths and URLs
    on every machine of the cluster; weights that a machine lacks are fetched there. Raises MissingExtraError,
    PlaceError when the cluster cannot be reached, and whatever looking raises.
    """
    backbones = eyes.load()
    spaces = spaces_of(backbones)
    # What a worker's own processor could do does not decide in what precision it looks.
    eyes = replace(eyes, precision=tuple(backbone.precision for backbone in backbones))
    outcomes: list[str | Rejected | None] = [None] * len(paths)
    looked: set[str] = set()
    ray = _import_ray(address)
    with _cluster(ray, address, cores) as actors:
        with waiting("reading what the store holds"):
            held = ray.put(Held(store, spaces.values()))
        size = min(max(len(paths) // (BATCHES_FOR_EACH_ACTOR * actors.count), LEAST), MOST)
        batches = ray.data.from_arrow([_batch(paths, start, size) for start in range(0, len(paths), size)])
        answers = batches.map_batches(
            _Looker,
            fn_constructor_args=(
                eyes,
                store.root,
                {space.folder for space in spaces.values()},
                held,
                actors,
                len(paths) // actors.count,
            ),
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=actors.count),
            num_cpus=actors.cores,
            num_gpus=actors.cards,
        )
        with counting(f"{actors.count} workers look at", len(paths), "photos") as advance:
            for answer in answers.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                if "error" in answer.column_names:
                    raise getattr(errors, answer["error"][0].as_py(), ManyEyesError)(answer["words"][0].as_py())
                for row, photo, is_new, reason, detail in zip(*(column.to_pylist() for column in answer), strict=True):
                    outcomes[row] = photo or Rejected(paths[row], Reason(reason), detail)
                    looked.update([photo] if is_new else [])
                advance(len(answer))
    return Filling(tuple(outcome for outcome in outcomes if outcome is not None), len(looked))


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
        keys = self._keys[space.folder]
        asked = to_keys(photos)
        place = np.searchsorted(keys, asked)
        is_held = np.zeros(len(asked), bool) if not len(keys) else keys[np.minimum(place, len(keys) - 1)] == asked
        return [photo for photo, found in zip(photos, is_held.tolist(), strict=True) if not found]


class _Looker:
    """An actor: a batch of paths in, what became of each out."""

    def __init__(self, eyes: Eyes, root: Any, folders: set[str], held: Any, actors: "_Actors", expected: int) -> None:
        use_cores(actors.cores)
        self._eyes = eyes
        self._root = root
        self._folders = folders
        self._held_elsewhere = held
        self._cores = actors.cores
        self._spool = actors.spool
        self._expected = expected

    @cached_property
    def _backbones(self) -> list[Backbone]:
        backbones = self._eyes.load()
        for backbone in backbones:
            backbone.expect(self._expected)
        return backbones

    @cached_property
    def _held(self) -> Held:
        import ray

        held: Held = ray.get(self._held_elsewhere)
        return held

    def __call__(self, batch: pa.Table) -> pa.Table:
        try:
            return self._look(batch)
        except ManyEyesError as error:  # Ray would hand on its words only, wrapped in its own
            return pa.table({"error": [type(error).__name__], "words": [str(error)]})

    def _look(self, batch: pa.Table) -> pa.Table:
        spaces = spaces_of(self._backbones)
        if {space.folder for space in spaces.values()} != self._folders:
            raise StoreError("a machine of the cluster has other weights, or another manyeyes, than the one that asks")
        paths = [os.fsdecode(path) for path in batch["path"].to_pylist()]
        with (
            tempfile.TemporaryDirectory(prefix=f"manyeyes-{os.getpid()}-", dir=self._spool) as copies,
            open_pool() as pool,
        ):
            lanes = LANES if any(map(is_url, paths)) else self._cores
            with ThreadPoolExecutor(lanes) as readers:
                found = list(readers.map(lambda path: _take(path, Path(copies)), paths))
            here = {photo: path for photo, path in found if isinstance(photo, str)}
            lack = plan(spaces, here, self._held.missing)
            refused = fill(FeatureStore(self._root), spaces, self._backbones, lack, pool)
        outcomes = [refused.get(photo, photo) if isinstance(photo, str) else photo for photo, _ in found]
        rejected = [one if isinstance(one, Rejected) else None for one in outcomes]
        return pa.table(
            {
                "row": batch["row"],
                "photo": pa.array([one if isinstance(one, str) else None for one in outcomes], pa.string()),
                "is_new": [isinstance(one, str) and one in lack.paths for one in outcomes],
                "reason": pa.array([one and str(one.reason) for one in rejected], pa.string()),
                "detail": pa.array([one and one.detail for one in rejected], pa.string()),
            }
        )


def _take(path: str, copies: Path) -> tuple[str | Rejected, str]:
    """A photo's sha256, and where it lies on this machine: what came over the network is not fetched twice."""
    data = read_bytes(path)
    if isinstance(data, Rejected):
        return data, path
    photo = hashlib.sha256(data).hexdigest()
    if not is_url(path):
        return photo, path
    copy = copies / photo
    copy.write_bytes(data)
    return photo, str(copy)


def _batch(paths: Sequence[str], start: int, size: int) -> pa.Table:
    part = paths[start : start + size]
    # As bytes, because a path need not be text.
    return pa.table({"row": np.arange(start, start + len(part)), "path": pa.array(map(os.fsencode, part), pa.binary())})


@dataclass(frozen=True)
class _Actors:
    """How many there are, what each owns, and where it keeps for a while what it has fetched."""

    count: int
    cores: int
    cards: int
    spool: str | None

    @classmethod
    def of(cls, resources: dict[str, float], spool: str | None) -> "_Actors":
        cores, cards = int(resources.get("CPU", 1)), int(resources.get("GPU", 0))
        return cls(cards, max(cores // cards, 1), 1, spool) if cards else cls(cores, 1, 0, spool)


def _import_ray(address: str | None) -> Any:
    if "ray" not in sys.modules:  # whoever imported it has settled this
        os.environ |= QUIET if address else QUIET | OURS
    try:
        import ray
        import ray.data
    except ImportError:
        raise MissingExtraError("--ray needs Ray: pip install 'manyeyes[ray]'") from None
    return ray


@contextmanager
def _cluster(ray: Any, address: str | None, cores: int | None) -> Iterator[_Actors]:
    """Start or find a cluster, and leave it again; the block gets the actors that fill it."""
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    with tempfile.TemporaryDirectory(prefix="manyeyes-ray-", ignore_cleanup_errors=True) as logs:
        own = {"address": "local", "num_cpus": cores, "include_dashboard": False, "_temp_dir": logs}
        console.print("starting Ray" if address is None else f"joining the Ray cluster at {address}", soft_wrap=True)
        _check_that_one_answers(address)
        try:
            with _stderr_closed():
                ray.init(**quiet, **(own if address is None else {"address": address}))
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise PlaceError(f"no Ray cluster can be used at {address or 'this machine'}: {error}") from None
        ray.data.DataContext.get_current().enable_progress_bars = False
        try:
            yield _Actors.of(ray.cluster_resources(), logs if address is None else None)
        finally:
            ray.shutdown()


def _check_that_one_answers(address: str | None) -> None:
    """Ray itself would wait, and wait. Raises PlaceError."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except OSError as error:
            raise PlaceError(f"no Ray cluster answers at {address}: {error.strerror or error}") from None


@contextmanager
def _stderr_closed() -> Iterator[None]:
    """What is not written in Python says there how quiet it is."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
