"""Where photos come from: a folder per class, a manifest, or, without labels, files and folders as they are."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from manyeyes.errors import PhotoSourceError
from manyeyes.images.folders import photos_under, read_folder
from manyeyes.images.photo import readable
from manyeyes.images.photoset import PhotoSet

_MANIFEST_SUFFIXES = (".csv", ".tsv", ".parquet")


def read_photos(source: str | os.PathLike[str]) -> PhotoSet:
    """Labelled photos from a folder with one folder per class, or from a .csv, .tsv or .parquet manifest.

    No photo is opened. Raises PhotoSourceError when no labelled photos can be read there.
    """
    path = Path(source)
    try:
        mode = path.stat().st_mode
    except OSError as error:
        where = readable(str(path))
        raise PhotoSourceError(f"{where} cannot be read ({error.strerror}): give a folder or a manifest") from error
    if stat.S_ISDIR(mode):
        return read_folder(path)
    if path.suffix.lower() in _MANIFEST_SUFFIXES:
        from manyeyes.images.manifests import read_manifest  # pyarrow takes as long to load as the rest of the room

        return read_manifest(path)
    raise PhotoSourceError(
        f"{readable(str(path))} is neither a folder nor a manifest: a manifest ends in {', '.join(_MANIFEST_SUFFIXES)}"
    )


def list_photos(sources: Iterable[str | os.PathLike[str]]) -> list[str]:
    """Paths without labels: files as given, whatever their names, and the photos in folders.

    A file that is given twice is listed twice; the search of a folder adds only what is not listed yet, by any name.
    The order is that of ``sources``, and inside a folder that of the relative paths. A file that does not exist is
    listed too: opening it says so. Raises PhotoSourceError when a folder cannot be read.
    """
    if isinstance(sources, str | os.PathLike):
        raise TypeError(f"list_photos takes several paths; write list_photos([{os.fspath(sources)!r}])")
    listed: list[str] = []
    known: set[str] = set()
    for source in sources:
        path = os.fspath(source)
        # Not Path.is_dir: that raises where this user may not look, and opening the file tells it better.
        is_search = os.path.isdir(path)  # noqa: PTH112
        for photo in photos_under(Path(path)) if is_search else [path]:
            file = os.path.realpath(photo)
            if not is_search or file not in known:
                listed.append(photo)
            known.add(file)
    return listed
