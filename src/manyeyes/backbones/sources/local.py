"""``local:PATH`` and ``onnx:PATH`` — weights that already lie on this machine."""

import shutil
from pathlib import Path

from manyeyes.backbones.sources import check_sha256
from manyeyes.errors import FetchError


class LocalSource:
    """A copy of a file of the user's, who may change it while it is converted."""

    def needs_network(self, where: str, inside: str) -> bool:
        return False

    def fetch(self, where: str, inside: str, sha256: str | None, folder: Path) -> Path:
        path = Path(where).expanduser()
        if not path.is_file():
            raise FetchError(f"there is no weight file at {path}")
        copy = Path(shutil.copyfile(path, folder / path.name))
        if sha256 is not None:
            check_sha256(copy, sha256, str(path))
        return copy
