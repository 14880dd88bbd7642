"""Where files become pixels; what several looks in a row want may be kept from one to the next."""

import hashlib
from collections.abc import Callable, Set
from threading import Lock

from manyeyes.images import MAX_PIXELS, Reason, Rejected, decode, read_bytes
from manyeyes.images.colour import Pixels


class Darkroom:
    """Reads, hashes and decodes photos; any thread may ask it.

    Up to ``room`` bytes of pixels are kept, and, where there is any room, the hashes of all files. ``read`` gives the
    bytes of a path, which need be no file for those who hold them otherwise; ``max_pixels`` as of ``decode``.
    """

    def __init__(
        self, room: int = 0, read: Callable[[str], bytes | Rejected] = read_bytes, max_pixels: int = MAX_PIXELS
    ) -> None:
        self._left, self._keeps = room, room > 0
        self._read, self._max_pixels = read, max_pixels
        self._hashes: dict[str, str | Rejected] = {}
        self._developed: dict[str, Pixels] = {}
        self._lock = Lock()

    def hash(self, path: str) -> str | Rejected:
        """The sha256 (hex) of a file, or why it cannot be read."""
        if path in self._hashes:
            return self._hashes[path]
        data = self._read(path)
        outcome = data if isinstance(data, Rejected) else hashlib.sha256(data).hexdigest()
        if self._keeps:
            self._hashes[path] = outcome
        return outcome

    def develop(self, sha256: str, path: str) -> Pixels | Rejected:
        """The pixels of a file that had this hash: (H, W, 3); or why it has none."""
        if (kept := self._developed.get(sha256)) is not None:
            return kept
        data = self._read(path)
        if isinstance(data, Rejected):
            return data
        if hashlib.sha256(data).hexdigest() != sha256:
            return Rejected(path, Reason.UNREADABLE, "the file changed while it was being read")
        image = decode(data, path, self._max_pixels)
        if not isinstance(image, Rejected):
            self._keep(sha256, image)
        return image

    def forget_all_but(self, wanted: Set[str]) -> None:
        """Keep no pixels but those of the photos with these hashes."""
        with self._lock:
            for sha256 in self._developed.keys() - wanted:
                self._left += self._developed.pop(sha256).nbytes

    def _keep(self, sha256: str, image: Pixels) -> None:
        with self._lock:
            if image.nbytes <= self._left and sha256 not in self._developed:
                self._left -= image.nbytes
                self._developed[sha256] = image
