"""Labels that files carry in their own names: UTKFace's ages and genders, Market-1501's identities and cameras."""

import re
from collections.abc import Iterator
from pathlib import Path

from manyeyes.errors import PhotoSourceError
from manyeyes.images import PhotoSet, read_photos
from manyeyes.images.folders import is_hidden, is_photo
from manyeyes.images.photo import readable
from manyeyes.places import is_url

# [age]_[gender]_[race]_[date].jpg, of faces cut out .jpg.chip.jpg.
_FACE = re.compile(r"(?P<age>\d{1,3})_(?P<gender>[01])_[0-4]_\d+\.\w+(\.chip\.\w+)?")
GENDERS = {"0": "male", "1": "female"}
# [identity]_c[camera]s[sequence]_[frame]_[box].jpg
_SHOT = re.compile(r"(?P<identity>-1|\d+)_c(?P<camera>\d+)s\d+_\d+_\d+\.\w+")
# Market-1501's folders, and the splits that they are.
MARKET = {"bounding_box_train": "train", "query": "query", "bounding_box_test": "gallery"}
# What Market-1501 calls photos that count neither as right nor as wrong.
JUNK = "-1"
_SHOWN = 10


def read_labelled(task: str, source: str) -> PhotoSet:
    """Photos with the labels that a task wants, of whatever layout is found there: UTKFace's for gender and age,
    Market-1501's for re-identification, else what :func:`manyeyes.images.read_photos` reads. Raises what that raises.
    """
    folder = Path(source)
    if not is_url(source) and folder.is_dir():
        if task in ("gender", "age") and any(_FACE.fullmatch(photo.name) for photo in _photos(folder)):
            return read_utkface(folder, task)
        if task == "re-identification" and (folder / next(iter(MARKET))).is_dir():
            return read_market(folder)
    return read_photos(source)


def read_utkface(folder: Path, task: str) -> PhotoSet:
    """The faces that lie in a folder, ``age`` or ``gender`` (female, male) as their labels.

    Those whose names do not say it, of which there are some in the published set, are left out and noted.
    """

    def label(name: re.Match[str]) -> str:
        return GENDERS[name["gender"]] if task == "gender" else str(int(name["age"]))

    notes: list[str] = []
    found = [(path, label(name)) for path, name in _named(folder, _FACE, notes)]
    return PhotoSet(tuple(path for path, _ in found), tuple(label for _, label in found), notes=tuple(notes))


def read_market(folder: Path) -> PhotoSet:
    """Market-1501's people: identities as labels (``0000`` is of nobody who is asked for, ``-1`` is junk), cameras, and
    the splits train, query and gallery.

    Names that say neither are noted. Raises PhotoSourceError when one of its folders is not there or holds none.
    """
    notes: list[str] = []
    found: list[tuple[str, str, str, str]] = []
    for part, split in MARKET.items():
        shots = [(path, name["identity"], split, name["camera"]) for path, name in _named(folder / part, _SHOT, notes)]
        found += shots
        if not shots:
            raise PhotoSourceError(
                f"no photos in {readable(str(folder / part))} are called like Market-1501's (0002_c1s1_000451_03.jpg)"
            )
    paths, labels, splits, cameras = zip(*found, strict=True)
    return PhotoSet(paths, labels, splits, notes=tuple(notes), cameras=cameras)


def _named(folder: Path, pattern: re.Pattern[str], notes: list[str]) -> Iterator[tuple[str, re.Match[str]]]:
    """Photos whose names are as expected, and what they say; the others are noted."""
    strange = []
    for photo in sorted(_photos(folder)):
        if name := pattern.fullmatch(photo.name):
            yield str(photo), name
        else:
            strange.append(readable(photo.name))
    if strange:
        shown = ", ".join(strange[:_SHOWN]) + " …" * (len(strange) > _SHOWN)
        notes.append(f"{readable(str(folder))}: left out {len(strange)} whose names do not say their labels: {shown}")


def _photos(folder: Path) -> list[Path]:
    """Those directly in a folder."""
    try:
        return [path for path in folder.iterdir() if is_photo(path) and not is_hidden(path.name) and path.is_file()]
    except OSError as error:
        raise PhotoSourceError(f"the folder {readable(str(folder))} cannot be read: {error.strerror}") from None
