"""A bundle: a folder with a fitted classifier in it. Arrays in safetensors, all else in JSON, a model card for people.

Backbones that were adapted to the photos can be had nowhere else: their weights lie in the bundle.

No file of a bundle can run code. ``config.json`` pins the sha256 of the arrays and carries a checksum of itself, so a
damaged or edited bundle is refused; against a deliberate forger that is no seal.
"""

import dataclasses
import glob
import hashlib
import json
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from manyeyes.backbones.card import Card
from manyeyes.backbones.sources import sha256_of
from manyeyes.backbones.zoo import card_from_others
from manyeyes.errors import BundleError, CardError
from manyeyes.fusion.fusion import Fusion
from manyeyes.model_card import model_card
from manyeyes.state import Arrays, pack, unpack
from manyeyes.version import __version__

if TYPE_CHECKING:
    from manyeyes.classifier import ManyEyesClassifier

FORMAT = "manyeyes-bundle"
VERSION = 3
CONFIG, TENSORS, README = "config.json", "model.safetensors", "README.md"
# A folder, in bundles whose backbones were adapted.
BACKBONES = "backbones"
# What a bundle is called while it is made: nothing of the user's own can be mistaken for it.
SCRATCH = ".manyeyes-writing-"
# Written beside them by `manyeyes fit` when some photos could not be read.
REJECTED = "rejected.csv"


def save(model: "ManyEyesClassifier", folder: Path, same_photos: bool = False) -> None:
    """Write ``model`` to ``folder``, whole or not at all; an older bundle there is replaced.

    With ``same_photos`` it was fitted to those of the older one, whose list of unreadable ones stays.
    Raises BundleError when the folder holds anything but a bundle, or cannot be written.
    """
    folder = folder.resolve()
    check_free(folder)
    arrays: Arrays = {}
    config: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "manyeyes": __version__,
        "parameters": pack(_own_parameters(model), arrays, "parameters"),
        "cards": [(_brought(card, Path(BACKBONES)) if model.is_adapted else card).to_dict() for card in model.cards_],
        "weights": model.weights_,
        "fusion": pack(model.fusion_, arrays),
        "facts": model.facts_,
        "photos": pack(model.photos_, arrays, "photos"),
    }
    try:
        with _scratch(folder) as scratch:
            made = Path(scratch) / "bundle"
            made.mkdir()
            save_file(arrays, made / TENSORS)
            config["tensors_sha256"] = sha256_of(made / TENSORS)
            for card in model.cards_ if model.is_adapted else ():
                _bring(card, made / BACKBONES)
            config["config_sha256"] = _checksum(config)
            text = json.dumps(config, indent=1, ensure_ascii=False)
            # Bytes of a folder's name that are not UTF-8 become escapes, which JSON reads back as they were.
            (made / CONFIG).write_text(text, encoding="utf-8", errors="backslashreplace")
            (made / README).write_text(model_card(model), encoding="utf-8")
            # safetensors makes its file for the owner's eyes only; a bundle is there to be shared.
            (made / TENSORS).chmod((made / README).stat().st_mode)
            if same_photos and (folder / REJECTED).exists():
                shutil.copyfile(folder / REJECTED, made / REJECTED)
            _put_in_place(made, folder)
    # On a disk that is full or read-only, safetensors raises an error of its own.
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BundleError(f"the bundle {folder} cannot be written: {reason}") from None


def load(folder: Path) -> "ManyEyesClassifier":
    """The classifier in a bundle. Raises BundleError for a folder that is no bundle, damaged, edited or too new."""
    folder = _as_last_saved(folder)
    config = read_config(folder)
    if not (folder / TENSORS).is_file() or sha256_of(folder / TENSORS) != config.get("tensors_sha256"):
        raise BundleError(f"{folder / TENSORS} is missing or not the file that {CONFIG} was written with")
    try:
        return _assemble(config, load_file(folder / TENSORS), folder.absolute() / BACKBONES)
    # A config that somebody else made, checksum and all, can be wrong in any way.
    except (BundleError, CardError, SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"{folder / CONFIG} does not describe a model of this manyeyes: {error}") from None


def read_config(folder: Path) -> dict[str, Any]:
    """A bundle's config, checked. Raises BundleError."""
    if not (folder / CONFIG).is_file():
        raise BundleError(f"{folder} is not a manyeyes bundle: it has no {CONFIG}")
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{folder / CONFIG} cannot be read: {error}") from None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise BundleError(f"{folder / CONFIG} was not written by manyeyes")
    if config.get("version") != VERSION:
        raise BundleError(
            f"{folder} is a bundle of version {config.get('version')} and this manyeyes ({__version__}) reads version "
            f"{VERSION}: it was written by manyeyes {config.get('manyeyes')}"
        )
    if config.pop("config_sha256", None) != _checksum(config):
        raise BundleError(f"{folder / CONFIG} was changed after it was written")
    return config


def _assemble(config: dict[str, Any], arrays: Arrays, backbones: Path) -> "ManyEyesClassifier":
    from manyeyes.classifier import ManyEyesClassifier

    model = ManyEyesClassifier(**unpack(config["parameters"], arrays))
    fusion = unpack(config["fusion"], arrays)
    if not isinstance(fusion, Fusion):
        raise TypeError(f"its fusion is a {type(fusion).__name__}")
    model.fusion_ = fusion
    model.classes_ = fusion.classes_
    model.cards_ = tuple(card_from_others(fields) for fields in config["cards"])
    model.weights_ = {card.name: config["weights"][card.name] for card in model.cards_}
    model.facts_ = dict(config["facts"])
    if model.is_adapted:
        model.cards_ = tuple(_found(card, backbones) for card in model.cards_)
    model.photos_ = unpack(config["photos"], arrays)
    model.rejected_ = ()
    return model


def check_free(folder: Path) -> None:
    """Raise BundleError unless a bundle can be written there: there is nothing, or an older bundle to replace."""
    try:
        names = {path.name for path in folder.iterdir()} - {REJECTED} if folder.exists() else set()
        names -= {path.name for path in _scratches(folder)}
        with _scratch(folder):
            pass  # better to learn now that nothing can be written than after hours of looking at photos
    except OSError as error:
        raise BundleError(f"no bundle can be written to {folder}: {error.strerror}") from None
    # Other programs' models have files of the same names.
    if names and not (names <= {CONFIG, TENSORS, README, BACKBONES} and _is_ours(folder)):
        raise BundleError(f"{folder} holds other files than a manyeyes bundle: choose another folder, or empty it")


def _brought(card: Card, backbones: Path) -> Card:
    """The card of a backbone whose weights lie in the folder of a bundle's backbones."""
    return dataclasses.replace(card, source=f"local:{backbones / card.name}.safetensors")


def _bring(card: Card, backbones: Path) -> None:
    """Copy an adapted backbone's weights, whose sha256 its card pins, into a bundle."""
    place = Path(_brought(card, backbones).where)
    place.parent.mkdir(exist_ok=True)
    shutil.copyfile(card.where, place)


def _found(card: Card, backbones: Path) -> Card:
    """The card of a backbone in a bundle, for this machine. Raises BundleError when its weights are not as written."""
    here = _brought(card, backbones)
    if not Path(here.where).is_file() or sha256_of(Path(here.where)) != here.sha256:
        raise BundleError(f"{here.where} is missing or not the file that {CONFIG} was written with")
    return here


def _own_parameters(model: "ManyEyesClassifier") -> dict[str, Any]:
    """What shaped the model. Whether to use the network, whose licence is accepted, what runs the backbones and
    where features are kept, each user decides anew."""
    parameters: dict[str, Any] = model.get_params(deep=False)
    users_own = ("offline", "accept_undeclared_licence", "engine", "batch_size", "features")
    return {name: value for name, value in parameters.items() if name not in users_own}


def _put_in_place(made: Path, folder: Path) -> None:
    """Move the finished bundle to its name; the bundle that was there is only deleted when that has succeeded."""
    if folder.exists() and not (folder / CONFIG).exists():
        (folder / REJECTED).unlink(missing_ok=True)  # of an earlier run that ended there
        # The config comes first: should we be killed, the folder is seen to be ours, and the next run may fill it.
        # (A mounted folder cannot itself be replaced.)
        for name in (CONFIG, README, TENSORS, BACKBONES):
            if (made / name).exists():
                (made / name).replace(folder / name)
        for each in _scratches(folder):
            if each != made.parent:
                shutil.rmtree(each, ignore_errors=True)  # of one who was killed
        return
    older = folder.with_name(f".{folder.name}-older-{uuid.uuid4().hex}")
    if folder.exists():
        folder.rename(older)
    try:
        made.rename(folder)
    except OSError:
        if older.exists():
            older.rename(folder)
        raise
    for each in _set_aside(folder):
        shutil.rmtree(each, ignore_errors=True)


def _as_last_saved(folder: Path) -> Path:
    """The folder itself; or the older bundle, when who was to replace it was killed between the two moves."""
    older = [] if folder.exists() else _set_aside(folder)
    return max(older, key=lambda path: path.stat().st_mtime, default=folder)


def _set_aside(folder: Path) -> list[Path]:
    folder = folder.resolve()
    return list(folder.parent.glob(f".{glob.escape(folder.name)}-older-*"))


def _scratches(folder: Path) -> list[Path]:
    return list(folder.glob(f"{SCRATCH}*"))


def _scratch(folder: Path) -> "tempfile.TemporaryDirectory[str]":
    """Where a bundle is made before it gets its place: on the same disk, which for a folder that is there and has no
    bundle in it may be another one than its parent's."""
    place = folder if folder.is_dir() and not (folder / CONFIG).exists() else folder.parent
    place.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(dir=place, prefix=SCRATCH)


def _is_ours(folder: Path) -> bool:
    """Whether there is a bundle, and no other backbones than its own."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        brought = {path.name for path in (folder / BACKBONES).iterdir()} if (folder / BACKBONES).exists() else set()
        own = {f"{card['name']}.safetensors" for card in config["cards"]} if brought else set()
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return False
    return isinstance(config, dict) and config.get("format") == FORMAT and brought <= own


def _checksum(config: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
