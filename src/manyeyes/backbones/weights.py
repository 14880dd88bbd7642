"""A card's weights on this machine: fetch once, check, convert to safetensors, verify, keep."""

import json
import os
import shutil
import tempfile
from pathlib import Path

from manyeyes import __version__
from manyeyes.backbones.card import Card
from manyeyes.backbones.nets import NETS
from manyeyes.backbones.sources import SOURCES, sha256_of
from manyeyes.errors import LicenceError, OfflineError
from manyeyes.home import cache_home, is_offline
from manyeyes.progress import waiting

RECORD = "card.json"


def weights_folder(card: Card) -> Path:
    """Where the card's weights lie, or will lie."""
    return cache_home() / "weights" / f"{card.name}-{card.key}"


def is_here(card: Card) -> bool:
    """True when the weights are on this machine, whole: the record is written last."""
    return (weights_folder(card) / RECORD).is_file()


def weights_sha256(card: Card) -> str:
    """The sha256 of the converted weights: what identifies this backbone in cache keys and bundles."""
    record = json.loads((weights_folder(card) / RECORD).read_text(encoding="utf-8"))
    return str(record["weights_sha256"])


def ensure_weights(card: Card, accept_undeclared_licence: bool = False) -> Path:
    """The folder with the card's weights, fetched now if need be.

    Raises OfflineError when they would have to come over a network that is not allowed, LicenceError when nobody
    declares their licence and the user has not accepted that, and what the source or the verification raises.
    """
    folder = weights_folder(card)
    if card.licence is None and not accept_undeclared_licence and card.scheme not in ("local", "onnx"):
        raise LicenceError(
            f"the publisher of {card.name} declares no licence: add --accept-undeclared-licence "
            "(accept_undeclared_licence=True) if you may use it all the same, or leave it out of the zoo"
        )
    if is_here(card) and not _is_changed_local_file(card):
        return folder
    source = SOURCES[card.scheme]()
    if source.needs_network and is_offline():
        raise OfflineError(
            f"the weights of {card.name} are not on this machine and the network is off: run "
            f"`manyeyes backbones pull {card.name}` where there is a network, and bring {folder} here"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as scratch:
        with waiting(f"fetching {card.name}"):
            fetched = source.fetch(card.where, card.inside, card.sha256, _made(Path(scratch) / "fetched"))
        prepared = _made(Path(scratch) / "prepared")
        with waiting(f"converting {card.name}"):
            NETS[card.net]().prepare(fetched, card, prepared)
            _verify(card, prepared)
        _record(card, fetched, prepared)
        _move_into_place(prepared, folder)
    return folder


def _verify(card: Card, prepared: Path) -> None:
    from manyeyes.backbones.verify import check_reference

    check_reference(card, NETS[card.net]().load(card, prepared))


def _record(card: Card, fetched: Path, prepared: Path) -> None:
    (weights,) = (path for path in prepared.iterdir() if path.is_file())
    record = {
        "card": card.to_dict(),
        "weights_sha256": sha256_of(weights),
        "fetched_sha256": sha256_of(fetched) if fetched.is_file() else card.sha256,
        "manyeyes": __version__,
    }
    (prepared / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")


def _is_changed_local_file(card: Card) -> bool:
    """A file that the user may overwrite under the same path is looked at again each time."""
    if card.scheme not in ("local", "onnx"):
        return False
    path = Path(card.where).expanduser() / card.inside
    record = json.loads((weights_folder(card) / RECORD).read_text(encoding="utf-8"))
    return path.is_file() and sha256_of(path) != record["fetched_sha256"]


def _move_into_place(prepared: Path, folder: Path) -> None:
    """Put the finished folder under its name at once; of two processes that finish together the later one wins."""
    if folder.exists():
        stale = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".stale-"))
        os.replace(folder, stale / "old")
        shutil.rmtree(stale, ignore_errors=True)
    os.replace(prepared, folder)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
