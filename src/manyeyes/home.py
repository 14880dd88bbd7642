"""Where manyeyes keeps what it fetched and computed, and whether it may use the network."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import platformdirs

_counting = Lock()
# Blocks that are running now. Not a context's own number: no thread that such a block starts would know of it.
_blocks_off = 0


def cache_home() -> Path:
    """The user's cache folder: ``$MANYEYES_HOME`` when set, else the platform's (XDG on Linux)."""
    chosen = os.environ.get("MANYEYES_HOME")
    return Path(chosen).expanduser().absolute() if chosen else platformdirs.user_cache_path("manyeyes", appauthor=False)


def is_offline() -> bool:
    """True inside :func:`network_off`, and when ``MANYEYES_OFFLINE`` is set to anything but "", ``0`` or ``false``."""
    return _blocks_off > 0 or os.environ.get("MANYEYES_OFFLINE", "").lower() not in ("", "0", "false")


@contextmanager
def network_off(off: bool = True) -> Iterator[None]:
    """Nothing is fetched while the block runs, in any thread. ``network_off(False)`` leaves it as it is."""
    global _blocks_off
    with _counting:
        _blocks_off += off
    try:
        yield
    finally:
        with _counting:
            _blocks_off -= off
