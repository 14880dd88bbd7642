"""Oxford-IIIT Pets: the breed is in the photo's name.

Table 1 counts the 7,390 photos of the archive; annotations/list.txt names 7,349 of them, and the authors' split is of
those. All photos are read, and how many the list lacks is said in a note.
"""

from pathlib import Path

from manyeyes.errors import PhotoSourceError
from manyeyes.images.datasets.labelfiles import read_pairs
from manyeyes.images.datasets.record import Dataset, Listing
from manyeyes.images.folders import photos_under
from manyeyes.images.photo import readable

_SPLITS = {"trainval.txt": "train", "test.txt": "test"}


def _breed(stem: str) -> str:
    """``great_pyrenees`` of ``great_pyrenees_12``."""
    return stem.rpartition("_")[0]


def _photo(stem: str) -> str:
    return f"images/{stem}.jpg"


def _read(folder: Path) -> Listing:
    stems = [Path(path).stem for path in photos_under(folder / "images") if path.endswith(".jpg")]
    listed = _listed(folder / "annotations" / "list.txt")
    labels = {_photo(stem): _breed(stem) for stem in [*stems, *sorted(listed - set(stems))] if _breed(stem)}
    unlisted = sorted(stem for stem in stems if stem not in listed)
    if not unlisted:
        return Listing(labels)
    note = f"annotations/list.txt names {len(listed):,} photos and not the {len(unlisted):,} others, such as "
    return Listing(labels, (f"{note}{readable(unlisted[0])}; their breeds are known by their names all the same",))


def _listed(file: Path) -> set[str]:
    """The photos of list.txt. Raises PhotoSourceError when it gives one class to two breeds, or two to one."""
    classes: dict[str, str] = {}
    breeds: dict[str, str] = {}
    rows = read_pairs(file)
    for stem, numbers in rows.items():
        number, breed = numbers.split()[0], _breed(stem)
        if classes.setdefault(breed, number) != number or breeds.setdefault(number, breed) != breed:
            raise PhotoSourceError(
                f"{readable(str(file))} puts {readable(stem)} into class {readable(number)}, "
                "which contradicts another line: unpack it again"
            )
    return set(rows)


def _splits(folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, split in _SPLITS.items():
        file = folder / "annotations" / name
        for stem in read_pairs(file):
            if found.setdefault(_photo(stem), split) != split:
                raise PhotoSourceError(f"{readable(str(file))} names {readable(stem)}, which is in trainval.txt too")
    return found


PETS = Dataset(
    name="pets",
    title="The Oxford-IIIT Pet Dataset",
    images=7390,
    classes=37,
    publisher="the Visual Geometry Group, University of Oxford",
    address="https://www.robots.ox.ac.uk/~vgg/data/pets/",
    files=("images.tar.gz", "annotations.tar.gz"),
    terms="CC BY-SA 4.0",
    citation="Parkhi, Vedaldi, Zisserman and Jawahar, Cats and Dogs, CVPR 2012",
    marks=("images/*_*.jpg", "annotations/list.txt"),
    read=_read,
    splits=_splits,
)
