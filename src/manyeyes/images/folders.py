"""Photos in folders: where they lie, and which class the folder says they are.

Every listing is sorted by code point, because the order that a file system gives is its own affair.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePath

from manyeyes.errors import PhotoSourceError
from manyeyes.images.formats import IMAGE_SUFFIXES
from manyeyes.images.photo import readable
from manyeyes.images.photoset import PhotoSet, is_split_name, split_name

_SYSTEM_NAMES = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
_SHOWN = 3
_Identity = tuple[int, int]


def read_folder(root: Path) -> PhotoSet:
    """The photos under ``root/<class>/`` or, when its folders are train, test and the like, ``root/<split>/<class>/``.

    The class is the first folder; folders inside it belong to it. Raises PhotoSourceError when there are no photos, or
    when only some folders are splits.
    """
    above = _identity(root)

    def photos_in(name: str) -> list[Path]:
        return [photo.relative_to(root / name) for photo in _photos(root / name, {above})]

    parts = [root / name for name in split_folders(str(root), [folder.name for folder in _listing(root)[0]], photos_in)]
    paths: list[str] = []
    labels: list[str] = []
    splits: list[str] = []
    notes: list[str] = []
    for part in parts or [root]:
        for path, label in _labelled(part, {above, _identity(part)}, notes):
            paths.append(path)
            labels.append(label)
            splits.append(split_name(part.name))
    if not paths:
        raise PhotoSourceError(f"no photos in {readable(str(root))}: put those of each class in a folder of its own")
    return PhotoSet(tuple(paths), tuple(labels), tuple(splits) if parts else None, notes=tuple(notes))


def photos_under(folder: Path) -> list[str]:
    """Every photo in a folder and the folders inside it, sorted by relative path."""
    return [str(path) for path in _photos(folder, set())]


def split_folders(where: str, folders: list[str], photos_in: Callable[[str], Iterable[PurePath]]) -> list[str]:
    """Those of the ``folders`` at ``where`` that are the splits of a split layout; none when the layout is another.

    ``photos_in`` gives the photos in one of them, by their paths from there. Raises PhotoSourceError when the layout is
    half of each.
    """
    named = [folder for folder in folders if is_split_name(folder)]
    # A class may well be called test: then its photos lie in it directly.
    deep = [folder for folder in named if any(len(photo.parts) > 1 for photo in photos_in(folder))]
    if not deep:
        return []
    others = [folder for folder in folders if folder not in named and any(True for _ in photos_in(folder))]
    if others:
        raise PhotoSourceError(
            f"{readable(where)} holds splits into class folders ({_names(deep)}) beside other photos "
            f"({_names(others)}): move away what is not meant, or give label and split of each photo in a manifest"
        )
    names = {split_name(folder) for folder in named}
    return named if "train" in names and len(named) > 1 else []


def _names(folders: list[str]) -> str:
    shown = [readable(folder) for folder in folders[:_SHOWN]]
    return ", ".join(shown) + (f" and {len(folders) - _SHOWN} more" if len(folders) > _SHOWN else "")


def _photos(top: Path, seen: set[_Identity]) -> list[Path]:
    return [path for path in _files(top, seen) if is_photo(path)]


def _labelled(base: Path, above: set[_Identity], notes: list[str]) -> list[tuple[str, str]]:
    """Path and class of each photo in the class folders of ``base``; what is left out is added to ``notes``."""
    folders, files = _listing(base)
    loose = [path for path in files if is_photo(path)]
    where = readable(str(base))
    if loose and not folders:
        raise PhotoSourceError(
            f"photos lie directly in {where} (such as {readable(loose[0].name)}), so their class is unknown: "
            "put each class in its own folder, or give a manifest"
        )
    if loose:
        notes.append(
            f"{where}: left out {len(loose)} photos outside the class folders, such as {readable(loose[0].name)}"
        )

    labelled: list[tuple[str, str]] = []
    others: Counter[str] = Counter()
    for folder in folders:
        before = len(labelled)
        # A link back to a folder above must not bring the other classes in under this one's name.
        for path in _files(folder, set(above)):
            if is_photo(path):
                labelled.append((str(path), folder.name))
            else:
                others[path.suffix.lower() or "no ending"] += 1
        if len(labelled) == before:
            notes.append(f"{where}: left out the folder {readable(folder.name)}, which holds no photos")
    if others:
        endings = readable(", ".join(sorted(others)))
        notes.append(f"{where}: left out {others.total()} files whose names do not end like a photo's ({endings})")
    # The folders came sorted by name, and "a b/x" sorts before "a/x" although "a" sorts before "a b".
    return sorted(labelled, key=lambda pair: _order(Path(pair[0]), base))


def _files(top: Path, seen: set[_Identity]) -> Iterator[Path]:
    """Every visible file under ``top`` by relative path; no folder twice, so that links in a circle come to an end."""
    found: list[Path] = []
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        identity = _identity(folder)
        if identity in seen:
            continue
        seen.add(identity)
        folders, files = _listing(folder)
        found += files
        waiting += reversed(folders)
    yield from sorted(found, key=lambda path: _order(path, top))


def _listing(folder: Path) -> tuple[list[Path], list[Path]]:
    """The visible folders and the visible other entries of a folder, each sorted; links count as their targets."""
    folders: list[Path] = []
    files: list[Path] = []
    try:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if not is_hidden(entry.name):
                    (folders if _is_folder(entry) else files).append(folder / entry.name)
    except OSError as error:
        raise PhotoSourceError(f"the folder {readable(str(folder))} cannot be read: {error.strerror}") from error
    return folders, files


def _is_folder(entry: os.DirEntry[str]) -> bool:
    # entry.is_dir() raises at a link to itself; os.path.isdir says no.
    return os.path.isdir(entry) if entry.is_symlink() else entry.is_dir()  # noqa: PTH112


def _identity(folder: Path) -> _Identity:
    status = folder.stat()
    return status.st_dev, status.st_ino


def is_hidden(name: str) -> bool:
    """Whether nobody means a file or folder of this name when they say photos."""
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def is_photo(path: PurePath) -> bool:
    """Whether it is called like a photo."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def _order(path: Path, base: Path) -> str:
    return path.relative_to(base).as_posix()
