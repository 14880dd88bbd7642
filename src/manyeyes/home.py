"""Where manyeyes keeps what it fetched and computed, and whether it may use the network."""

import os
from pathlib import Path

import platformdirs


def cache_home() -> Path:
    """The user's cache folder: ``$MANYEYES_HOME`` when set, else the platform's (XDG on Linux)."""
    chosen = os.environ.get("MANYEYES_HOME")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("manyeyes", appauthor=False)


def is_offline() -> bool:
    """True when ``MANYEYES_OFFLINE`` is set to anything but an empty string, ``0`` or ``false``."""
    return os.environ.get("MANYEYES_OFFLINE", "").lower() not in ("", "0", "false")
