"""Files to pixels: which photos there are, and one way to open each of them."""

from manyeyes.images.datasets import DATASETS, read_dataset
from manyeyes.images.photo import MAX_PIXELS, Photo, Reason, Rejected, decode, open_photo, read_bytes
from manyeyes.images.photoset import PhotoSet, together
from manyeyes.images.rejects import RejectedPhotoWarning, check_rejected, warn_rejected, write_rejected
from manyeyes.images.sources import list_photos, read_photos
from manyeyes.images.thumbnail import thumbnail

__all__ = [
    "DATASETS",
    "MAX_PIXELS",
    "Photo",
    "PhotoSet",
    "Reason",
    "Rejected",
    "RejectedPhotoWarning",
    "check_rejected",
    "decode",
    "list_photos",
    "open_photo",
    "read_bytes",
    "read_dataset",
    "read_photos",
    "thumbnail",
    "together",
    "warn_rejected",
    "write_rejected",
]
