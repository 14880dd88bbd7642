"""A photo in small: what the gate of the paper looks at."""

from manyeyes.images.colour import Pixels


def thumbnail(photo: Pixels, size: int = 64) -> Pixels:
    """Squash a photo of (H, W, 3) to (size, size, 3), whatever its proportions, averaging over all of its pixels."""
    # Here, because it loads torch, for which who only lists photos need not wait.
    from manyeyes.images.resize import resize

    return resize(photo, size, size, "bilinear")
