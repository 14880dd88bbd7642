"""Reading the shards of a space: what is damaged is set aside, and what came while others were read is read too."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Set
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TypeVar

import pyarrow as pa

from manyeyes.errors import StoreError
from manyeyes.features import shard
from manyeyes.features.shard import Keys
from manyeyes.features.shelf import Shelf

# What shards of so few bytes list is remembered, by their place, for whoever asks again in this process: shards never
# change. There are many where photos come one by one, and opening all of them takes longer than looking at one photo.
LITTLE, REMEMBERED = 2**18, 10_000
_remembered: dict[str, Keys] = {}

log = logging.getLogger(__name__)
T = TypeVar("T")


class ShardReader:
    """The shards in one folder of a shelf. Every method raises StoreError when the system does not let it read."""

    def __init__(self, shelf: Shelf, folder: str) -> None:
        self._shelf = shelf
        self._folder = folder

    def sizes(self) -> dict[str, int]:
        """Name → bytes of every shard, sorted by name."""
        with told(self._shelf.where(self._folder), "read"):
            files = self._shelf.files(self._folder)
        return {name: size for name, size in sorted(files.items()) if shard.is_shard(name)}

    def listed(self, wanted: Set[str] | None = None) -> Iterator[Keys]:
        """The photos that each shard lists, until none is ``wanted`` any more; whether its rows are whole is not
        looked at."""
        for fresh in self._listings():
            yield from (keys for _, keys in self._keys_of(fresh))
            if wanted is not None and not wanted:
                return

    def readable(self, wanted: Set[str]) -> Iterator[tuple[str, pa.Table]]:
        """Each shard that is whole and holds a wanted photo, until none is ``wanted`` any more."""
        for fresh in self._listings():
            listed = self._keys_of(fresh)
            yield from self.whole([n for n, keys in listed if not wanted.isdisjoint(shard.to_photos(keys))])
            if not wanted:
                return

    def whole(self, names: Iterable[str]) -> Iterator[tuple[str, pa.Table]]:
        """The rows of those of these shards that are whole."""
        return self._look_into(names, self._rows)

    def _listings(self) -> Iterator[dict[str, int]]:
        """The shards and their bytes, and then those that came meanwhile, until there are no others.

        What is gone when it is to be read may have been gathered, by another process, into a shard that came since.
        """
        known: set[str] = set()
        while fresh := {name: size for name, size in self.sizes().items() if name not in known}:
            known |= fresh.keys()
            yield fresh

    def _keys_of(self, sizes: dict[str, int]) -> Iterator[tuple[str, Keys]]:
        return self._look_into(sizes, lambda name: self._keys(name, sizes[name] <= LITTLE))

    def _look_into(self, names: Iterable[str], look: Callable[[str], T]) -> Iterator[tuple[str, T]]:
        """What ``look`` finds in each shard, but for those that are gone, or damaged and so set aside."""

        def careful(name: str) -> T | None:
            where = self._shelf.where(self._folder, name)
            with told(where, "read"), suppress(FileNotFoundError):  # pruned, gathered, or set aside, by another process
                try:
                    return look(name)
                except Exception as error:  # a reader may throw anything at damaged bytes; but it may lack rights
                    if shard.shard_name(self._folder, self._shelf.read(self._folder, name)) == name:
                        raise
                    log.warning("set aside a damaged shard, its photos will be looked at again: %s (%s)", where, error)
                    with suppress(OSError):  # another process was faster, or the store is read-only
                        self._shelf.set_aside(self._folder, name)
            return None

        for name, found in side_by_side(careful, names, self._shelf.lanes):
            if found is not None:
                yield name, found

    def _keys(self, name: str, is_little: bool) -> Keys:
        if not is_little:
            return shard.read_keys(self._shelf.open(self._folder, name))
        where = self._shelf.where(self._folder, name)
        if (known := _remembered.get(where)) is not None:
            return known
        if len(_remembered) >= REMEMBERED:
            _remembered.clear()
        # From rows that were found whole, so that what is remembered stays true; without the rest of the file.
        keys = shard.keys_of(self._rows(name)).copy()
        _remembered[where] = keys
        return keys

    def _rows(self, name: str) -> pa.Table:
        data = self._shelf.read(self._folder, name)
        if shard.shard_name(self._folder, data) != name:
            raise ValueError("its bytes are not those that were written")
        return shard.read_rows(data)


@contextmanager
def told(where: str, done: str) -> Iterator[None]:
    """An OSError becomes the StoreError that says what cannot be ``done`` (read, removed), and where."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{error.filename or where} cannot be {done}: {error.strerror or error}") from None


def side_by_side(work: Callable[[str], T], names: Iterable[str], lanes: int) -> Iterator[tuple[str, T]]:
    """Each name and what ``work`` makes of it, in order; no more than ``lanes`` results wait to be taken."""
    if lanes == 1:
        yield from ((name, work(name)) for name in names)
        return
    running: deque[tuple[str, Future[T]]] = deque()
    with ThreadPoolExecutor(lanes) as pool:
        for name in names:
            running.append((name, pool.submit(work, name)))
            if len(running) == lanes:
                first, future = running.popleft()
                yield first, future.result()
        yield from ((name, future.result()) for name, future in running)
