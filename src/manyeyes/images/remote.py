"""Photos behind a URL: which there are, and their bytes."""

from pathlib import PurePosixPath

from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType

from manyeyes.errors import ManyEyesError, PhotoSourceError
from manyeyes.images.folders import is_hidden, is_photo
from manyeyes.images.photo import MAX_BYTES, Reason, Rejected, readable
from manyeyes.images.photoset import PhotoSet, is_split_name, split_name
from manyeyes.places import join, locate


def read_url(url: str) -> bytes | Rejected:
    """What :func:`manyeyes.images.read_bytes` says of a URL."""
    try:
        filesystem, path = locate(url)
        found = filesystem.get_file_info(path)
        if found.type == FileType.NotFound:
            return Rejected(url, Reason.MISSING, "no such file")
        if found.type != FileType.File:
            return Rejected(url, Reason.NOT_A_FILE, "a folder")
        if found.size > MAX_BYTES:
            return Rejected(url, Reason.TOO_LARGE, f"{found.size:,} bytes; at most {MAX_BYTES:,} are read")
        with filesystem.open_input_file(path) as file:
            data: bytes = file.read()
            return data
    except PermissionError:
        return Rejected(url, Reason.NO_PERMISSION, "this user may not read it")
    except (OSError, ValueError, ManyEyesError) as error:
        return Rejected(url, Reason.UNREADABLE, readable(str(error)) or type(error).__name__)


def is_folder(url: str) -> bool:
    """Whether photos can be searched for there. Raises PhotoSourceError when that cannot be told."""
    filesystem, path = locate(url)
    return bool(_ask(url, filesystem, path).type == FileType.Directory)


def photos_at(url: str) -> list[str]:
    """The URL of every photo under a folder's URL, sorted by relative path. Raises PhotoSourceError."""
    return [join(url, relative) for relative in _relative(url)]


def read_remote_folder(url: str) -> PhotoSet:
    """As :func:`manyeyes.images.folders.read_folder`: the photos under ``url/<class>/`` or ``url/<split>/<class>/``."""
    parts = [relative.split("/") for relative in _relative(url)]
    tops = {part[0] for part in parts if len(part) > 1}
    is_split = (len(tops) > 1 and all(map(is_split_name, tops)) and "train" in set(map(split_name, tops))) and any(
        len(part) > 2 for part in parts
    )
    depth = 2 if is_split else 1
    kept = [part for part in parts if len(part) > depth]
    if not kept:
        raise PhotoSourceError(f"no photos in {readable(url)}: put those of each class in a folder of its own")
    loose = len(parts) - len(kept)
    return PhotoSet(
        tuple(join(url, "/".join(part)) for part in kept),
        tuple(part[depth - 1] for part in kept),
        tuple(split_name(part[0]) for part in kept) if is_split else None,
        notes=(f"{readable(url)}: left out {loose} photos outside the class folders",) if loose else (),
    )


def _relative(url: str) -> list[str]:
    filesystem, path = locate(url)
    if _ask(url, filesystem, path).type != FileType.Directory:
        raise PhotoSourceError(f"{readable(url)} is no folder: give a folder or a manifest")
    try:
        found = filesystem.get_file_info(FileSelector(path, recursive=True))
    except OSError as error:
        raise PhotoSourceError(f"{readable(url)} cannot be read: {readable(str(error))}") from None
    names = (one.path[len(path.rstrip("/")) + 1 :] for one in found if one.type == FileType.File)
    return sorted(name for name in names if is_photo(PurePosixPath(name)) and not any(map(is_hidden, name.split("/"))))


def _ask(url: str, filesystem: FileSystem, path: str) -> FileInfo:
    try:
        return filesystem.get_file_info(path)
    except OSError as error:
        raise PhotoSourceError(f"{readable(url)} cannot be read: {readable(str(error))}") from None
