"""Where photos come from: a folder per class, a manifest, or, without labels, files and folders as they are."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from manyeyes.errors import PhotoSourceError
from manyeyes.images.folders import photos_under, read_folder
from manyeyes.images.photo import readable
from manyeyes.images.photoset import PhotoSet
from manyeyes.places import is_url

# By the endings: pyarrow, which reads them, takes as long to load as the rest of the room.
_MANIFEST_SUFFIXES = (".csv", ".tsv", ".parquet")


def read_photos(source: str | os.PathLike[str]) -> PhotoSet:
    """Labelled photos from a folder with one folder per class, or from a .csv, .tsv or .parquet manifest.

    Either may be a URL, such as ``s3://bucket/photos``. No photo is opened. Raises PhotoSourceError when no labelled
    photos can be read there.
    """
    path = os.fspath(source)
    if is_url(path):
        if _is_manifest(path):
            return _read_manifest(path)
        from manyeyes.images.remote import read_remote_folder

        return read_remote_folder(path)
    try:
        mode = Path(path).stat().st_mode
    except OSError as error:
        where = readable(path)
        raise PhotoSourceError(f"{where} cannot be read ({error.strerror}): give a folder or a manifest") from error
    if stat.S_ISDIR(mode):
        return read_folder(Path(path))
    if _is_manifest(path):
        return _read_manifest(path)
    raise PhotoSourceError(
        f"{readable(path)} is neither a folder nor a manifest: a manifest ends in {', '.join(_MANIFEST_SUFFIXES)}"
    )


def list_photos(sources: Iterable[str | os.PathLike[str]]) -> list[str]:
    """Paths without labels: files as given, the photos in folders, and what manifests name; each may be a URL.

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
        found, is_search = _found_at(path)
        for photo in found:
            file = photo if is_url(photo) else os.path.realpath(photo)
            if not is_search or file not in known:
                listed.append(photo)
            known.add(file)
    return listed


def _found_at(path: str) -> tuple[list[str], bool]:
    """The photos that a source stands for, and whether they were searched for rather than named."""
    if is_url(path):
        from manyeyes.images.remote import is_folder, photos_at

        if not _is_manifest(path) and is_folder(path):
            return photos_at(path), True
    # Not Path.is_dir: that raises where this user may not look, and opening the file tells it better.
    elif os.path.isdir(path):  # noqa: PTH112
        return photos_under(Path(path)), True
    if _is_manifest(path):
        from manyeyes.images.manifests import manifest_paths

        return manifest_paths(path), False
    return [path], False


def _is_manifest(path: str) -> bool:
    return path.lower().endswith(_MANIFEST_SUFFIXES)


def _read_manifest(path: str) -> PhotoSet:
    from manyeyes.images.manifests import read_manifest

    return read_manifest(path)
