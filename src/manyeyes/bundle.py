"""A bundle: a folder with a fitted classifier in it. Arrays in safetensors, all else in JSON, a model card for people.

No file of a bundle can run code. ``config.json`` pins the sha256 of the arrays and carries a checksum of itself, so a
damaged or edited bundle is refused; against a deliberate forger that is no seal.
"""

import hashlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.numpy import load_file, save_file

from manyeyes import __version__
from manyeyes.backbones.card import Card
from manyeyes.backbones.sources import sha256_of
from manyeyes.backbones.zoo import known_cards
from manyeyes.errors import BundleError, CardError
from manyeyes.model_card import model_card
from manyeyes.state import Arrays, pack, unpack

if TYPE_CHECKING:
    from manyeyes.classifier import ManyEyesClassifier

FORMAT = "manyeyes-bundle"
VERSION = 1
CONFIG, TENSORS, README = "config.json", "model.safetensors", "README.md"
# Written beside them by `manyeyes fit` when some photos could not be read.
REJECTED = "rejected.csv"


def save(model: "ManyEyesClassifier", folder: Path, facts: dict[str, Any] | None = None) -> None:
    """Write ``model`` to ``folder``, at once or not at all; an older bundle there is replaced.

    ``facts`` (photo counts, results, JSON only) go into the config and the model card. Raises BundleError when the
    folder holds anything but a bundle, or cannot be written.
    """
    arrays: Arrays = {}
    config: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "manyeyes": __version__,
        "parameters": pack(model.get_params(deep=False), arrays, "parameters"),
        "cards": [card.to_dict() for card in model.cards_],
        "weights": model.weights_,
        "fusion": pack(model.fusion_, arrays),
        "facts": facts or {},
    }
    if not is_free(folder):
        raise BundleError(f"{folder} holds other files than a manyeyes bundle: choose another folder, or empty it")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
            made = Path(scratch) / "bundle"
            made.mkdir()
            save_file(arrays, made / TENSORS)
            config["tensors_sha256"] = sha256_of(made / TENSORS)
            config["config_sha256"] = _checksum(config)
            (made / CONFIG).write_text(json.dumps(config, indent=1, ensure_ascii=False), encoding="utf-8")
            (made / README).write_text(model_card(model, config["facts"]), encoding="utf-8")
            if folder.exists():
                folder.rename(Path(scratch) / "older")
            made.rename(folder)
    except OSError as error:
        raise BundleError(f"the bundle {folder} cannot be written: {error.strerror or error}") from None


def load(folder: Path, offline: bool = False) -> "ManyEyesClassifier":
    """The classifier in a bundle. Raises BundleError for a folder that is no bundle, damaged, edited or too new."""
    from manyeyes.classifier import ManyEyesClassifier

    config = read_config(folder)
    if not (folder / TENSORS).is_file() or sha256_of(folder / TENSORS) != config["tensors_sha256"]:
        raise BundleError(f"{folder / TENSORS} is missing or not the file that {CONFIG} was written with")
    arrays = load_file(folder / TENSORS)
    model = ManyEyesClassifier(**unpack(config["parameters"], arrays))
    model.offline = offline or model.offline
    model.fusion_ = unpack(config["fusion"], arrays)
    model.classes_ = model.fusion_.classes_
    model.cards_ = _read_cards(config["cards"], folder)
    model.weights_ = dict(config["weights"])
    model.rejected_ = ()
    return model


def read_config(folder: Path) -> dict[str, Any]:
    """A bundle's config, checked. Raises BundleError."""
    if not (folder / CONFIG).is_file():
        raise BundleError(f"{folder} is not a manyeyes bundle: it has no {CONFIG}")
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
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


def _read_cards(records: list[dict[str, Any]], folder: Path) -> tuple[Card, ...]:
    try:
        cards = tuple(Card.from_dict(fields) for fields in records)
    except CardError as error:
        raise BundleError(f"{folder / CONFIG}: {error}") from None
    for card in cards:
        # pip runs a source package's build script: only our own cards may name one.
        if card.scheme == "sdist" and known_cards().get(card.name) != card:
            raise BundleError(f"{folder}: its card {card.name!r} would run code of {card.where}; it is not one of ours")
    return cards


def is_free(folder: Path) -> bool:
    """Whether a bundle may be written there: nothing, an empty folder, a list of rejected photos, or a bundle."""
    if not folder.exists():
        return True
    if not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir()}
    return names <= {CONFIG, TENSORS, README, REJECTED}


def _checksum(config: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
