"""Photos small enough for a page: as data URIs, all of them within a number of bytes."""

import base64
import io
from collections.abc import Sequence

from PIL import Image

from manyeyes.images import Rejected, open_photo
from manyeyes.progress import counting
from manyeyes.threads import open_pool

# Longer side in pixels and quality of WebP, from the best on.
SIZES = ((320, 60), (224, 55), (160, 50), (112, 45), (80, 40), (48, 35))
# So many pictures tell how large all will be.
PROBE = 24


def pictures(paths: Sequence[str], most_bytes: int) -> dict[str, str]:
    """By path, as large as fit into so many bytes together. One that cannot be read any more is left out."""
    if not paths:
        return {}
    size = next((one for one in SIZES if _mean_bytes(paths, one) * len(paths) <= most_bytes), SIZES[-1])
    found: dict[str, str] = {}
    left = most_bytes
    with open_pool() as pool, counting("pictures", len(paths), "photos") as advance:
        for path, picture in zip(paths, pool.map(lambda path: _picture(path, size), paths), strict=True):
            left -= len(picture)
            if picture and left >= 0:
                found[path] = picture
            advance(1)
    return found


def _mean_bytes(paths: Sequence[str], size: tuple[int, int]) -> float:
    some = paths[:: max(len(paths) // PROBE, 1)]
    return sum(len(_picture(path, size)) for path in some) / len(some)


def _picture(path: str, size: tuple[int, int]) -> str:
    photo = open_photo(path)
    if isinstance(photo, Rejected):
        return ""
    side, quality = size
    image, file = Image.fromarray(photo.image), io.BytesIO()
    image.thumbnail((side, side))
    image.save(file, "WEBP", quality=quality)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
