"""A bundle: a folder with a fitted classifier in it. Arrays in safetensors, all else in JSON, a model card for people.

No file of a bundle can run code. ``config.json`` pins the sha256 of the arrays and carries a checksum of itself, so a
damaged or edited bundle is refused; against a deliberate forger that is no seal.
"""

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
from manyeyes.backbones.zoo import known_cards
from manyeyes.errors import BundleError, CardError
from manyeyes.fusion.fusion import Fusion
from manyeyes.model_card import model_card
from manyeyes.state import Arrays, pack, unpack
from manyeyes.version import __version__

if TYPE_CHECKING:
    from manyeyes.classifier import ManyEyesClassifier

FORMAT = "manyeyes-bundle"
VERSION = 1
CONFIG, TENSORS, README = "config.json", "model.safetensors", "README.md"
# Written beside them by `manyeyes fit` when some photos could not be read.
REJECTED = "rejected.csv"


def save(model: "ManyEyesClassifier", folder: Path) -> None:
    """Write ``model`` to ``folder``, whole or not at all; an older bundle there is replaced.

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
        "cards": [card.to_dict() for card in model.cards_],
        "weights": model.weights_,
        "fusion": pack(model.fusion_, arrays),
        "facts": model.facts_,
        "photos": pack(model.photos_, arrays, "photos"),
    }
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
            made = Path(scratch) / "bundle"
            made.mkdir()
            save_file(arrays, made / TENSORS)
            config["tensors_sha256"] = sha256_of(made / TENSORS)
            config["config_sha256"] = _checksum(config)
            text = json.dumps(config, indent=1, ensure_ascii=False)
            # Bytes of a folder's name that are not UTF-8 become escapes, which JSON reads back as they were.
            (made / CONFIG).write_text(text, encoding="utf-8", errors="backslashreplace")
            (made / README).write_text(model_card(model), encoding="utf-8")
            # safetensors makes its file for the owner's eyes only; a bundle is there to be shared.
            (made / TENSORS).chmod((made / README).stat().st_mode)
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
        return _assemble(config, load_file(folder / TENSORS))
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


def _assemble(config: dict[str, Any], arrays: Arrays) -> "ManyEyesClassifier":
    from manyeyes.classifier import ManyEyesClassifier

    model = ManyEyesClassifier(**unpack(config["parameters"], arrays))
    fusion = unpack(config["fusion"], arrays)
    if not isinstance(fusion, Fusion):
        raise TypeError(f"its fusion is a {type(fusion).__name__}")
    model.fusion_ = fusion
    model.classes_ = fusion.classes_
    model.cards_ = tuple(_read_card(fields) for fields in config["cards"])
    model.weights_ = {card.name: config["weights"][card.name] for card in model.cards_}
    model.facts_ = dict(config["facts"])
    model.photos_ = unpack(config["photos"], arrays)
    model.rejected_ = ()
    return model


def _read_card(fields: dict[str, Any]) -> Card:
    card = Card.from_dict(fields)
    # pip runs a source package's build script: only our own cards may name one.
    if card.scheme == "sdist" and known_cards().get(card.name) != card:
        raise CardError(f"its card {card.name!r} would run code of {card.where}, and it is not one of ours")
    return card


def check_free(folder: Path) -> None:
    """Raise BundleError unless a bundle can be written there: there is nothing, or an older bundle to replace."""
    try:
        names = {path.name for path in folder.iterdir()} - {REJECTED} if folder.exists() else set()
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-"):
            pass  # better to learn now that nothing can be written than after hours of looking at photos
    except OSError as error:
        raise BundleError(f"no bundle can be written to {folder}: {error.strerror}") from None
    # Other programs' models have files of the same names.
    if names and not (names <= {CONFIG, TENSORS, README} and _is_ours(folder)):
        raise BundleError(f"{folder} holds other files than a manyeyes bundle: choose another folder, or empty it")


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
        for name in (CONFIG, README, TENSORS):
            (made / name).replace(folder / name)
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


def _is_ours(folder: Path) -> bool:
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(config, dict) and config.get("format") == FORMAT


def _checksum(config: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
