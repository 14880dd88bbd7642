"""How much a server takes on: of one photo, of one request, and of all who ask at the same time."""

from dataclasses import dataclass

from manyeyes.errors import ChoiceError
from manyeyes.images import MAX_PIXELS

MB = 1_000_000


@dataclass(frozen=True)
class Limits:
    """What is refused.

    photo_bytes, photo_pixels : a larger photo. request_bytes, request_photos : a larger request.
    held_bytes : more of all requests together that are not answered yet.
    receive_seconds : a request whose body takes longer to arrive. answer_seconds : photos that wait longer for answers.
    waiting : photos beyond so many that wait. batch : the model is asked about no more photos at once, and waits for so
    many no longer than ``gather_seconds``.
    """

    photo_bytes: int = 20 * MB
    photo_pixels: int = MAX_PIXELS
    request_bytes: int = 64 * MB
    request_photos: int = 32
    held_bytes: int = 512 * MB
    receive_seconds: float = 60.0
    answer_seconds: float = 60.0
    waiting: int = 128
    batch: int = 32
    gather_seconds: float = 0.005

    def __post_init__(self) -> None:
        """Raise ChoiceError for limits that would refuse what other limits allow."""
        for what, smaller, larger, than in (
            ("a photo", self.photo_bytes, self.request_bytes, "a request"),
            ("a request", self.request_bytes, self.held_bytes, "all requests together"),
        ):
            if smaller > larger:
                raise ChoiceError(f"{what} may have {smaller:,} bytes, and {than} only {larger:,}: raise the latter")
        if self.request_photos > self.waiting:
            raise ChoiceError(
                f"a request may have {self.request_photos} photos, and only {self.waiting} may wait: raise the latter"
            )
