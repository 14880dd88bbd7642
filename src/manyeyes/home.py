"""Where manyeyes keeps what it fetched and computed, and whether it may use the network."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import platformdirs

_network_off = ContextVar("network_off", default=False)


def cache_home() -> Path:
    """The user's cache folder: ``$MANYEYES_HOME`` when set, else the platform's (XDG on Linux)."""
    chosen = os.environ.get("MANYEYES_HOME")
    return Path(chosen).expanduser().absolute() if chosen else platformdirs.user_cache_path("manyeyes", appauthor=False)


def is_offline() -> bool:
    """True inside :func:`network_off`, and when ``MANYEYES_OFFLINE`` is set to anything but "", ``0`` or ``false``."""
    return _network_off.get() or os.environ.get("MANYEYES_OFFLINE", "").lower() not in ("", "0", "false")


@contextmanager
def network_off(off: bool = True) -> Iterator[None]:
    """Nothing is fetched while the block runs. ``network_off(False)`` leaves it as it is."""
    token = _network_off.set(_network_off.get() or off)
    try:
        yield
    finally:
        _network_off.reset(token)
