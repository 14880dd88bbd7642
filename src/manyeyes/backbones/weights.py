"""A card's weights on this machine: fetch once, check, convert to safetensors, verify, keep."""

import json
import shutil
from pathlib import Path
from typing import Any

from filelock import FileLock
from safetensors import SafetensorError

from manyeyes.backbones.card import Card
from manyeyes.backbones.nets import NETS
from manyeyes.backbones.sources import SOURCES, Source, sha256_of
from manyeyes.errors import ChecksumError, FetchError, LicenceError, OfflineError
from manyeyes.home import cache_home, is_offline
from manyeyes.progress import waiting
from manyeyes.version import __version__

RECORD = "card.json"
# Raised when a converter is mended in a way that changes what it writes: older weights are then fetched anew.
CONVERSION = 1
# What the reference embedding was verified for, and :attr:`Card.key` leaves out.
_VERIFIED = ("dimension", "preprocessing", "reference")


def weights_folder(card: Card) -> Path:
    """Where the card's weights lie, or will lie."""
    return cache_home() / "weights" / f"{card.name}-{card.key}"


def is_here(card: Card) -> bool:
    """True when the weights are on this machine, whole: their folder gets its name last."""
    return (weights_folder(card) / RECORD).is_file()


def weights_sha256(card: Card) -> str:
    """The sha256 of the converted weights: what identifies this backbone in cache keys and bundles."""
    return str(_read_record(weights_folder(card))["weights_sha256"])


def weights_bytes(folder: Path) -> int:
    """How large the weights in ``folder`` are."""
    return (folder / _weight_file(_read_record(folder))).stat().st_size


def ensure_weights(card: Card, accept_undeclared_licence: bool = False) -> Path:
    """The folder with the card's weights, fetched now if need be.

    Raises OfflineError when they would have to come over a network that is not allowed, LicenceError when nobody
    declares their licence and the user has not accepted that, and what the source or the verification raises. Weights
    that are here are verified again for a card that looks at them in another way than the one they came with.
    """
    if card.licence is None and not accept_undeclared_licence and not card.is_local:
        raise undeclared(card.name)
    folder = weights_folder(card)
    if _is_up_to_date(card) and _is_verified(card):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Of two processes that want the same weights, one fetches them and the other waits.
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            if not _is_up_to_date(card):
                _fetch(card, folder)
            elif not _is_verified(card):
                _verify_again(card, folder)
    # On a disk that is full or read-only, safetensors raises an error of its own.
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FetchError(f"the weights of {card.name} cannot be kept in {folder}: {reason}") from None
    return folder


def undeclared(name: str) -> LicenceError:
    """What to raise for weights under no known licence."""
    return LicenceError(
        f"the publisher of {name} declares no licence: add --accept-undeclared-licence "
        "(accept_undeclared_licence=True) if you may use it all the same, or leave it out of the zoo"
    )


def check_undamaged(folder: Path, sha256: str) -> None:
    """Raise ChecksumError unless the weights in ``folder`` are whole, and still those of this ``sha256``."""
    record = _read_record(folder)
    name = record["card"]["name"]
    if record["weights_sha256"] != sha256:
        raise ChecksumError(f"the weights of {name} were changed in {folder} while they were wanted: run again")
    weights = folder / _weight_file(record)
    if not weights.is_file() or sha256_of(weights) != sha256:
        raise ChecksumError(f"the weights of {name} were damaged: delete {folder}, and they are fetched again")


def _fetch(card: Card, folder: Path) -> None:
    source: Source = SOURCES[card.scheme]()
    if is_offline() and source.needs_network(card.where, card.inside):
        word = card.source if card.scheme == "timm" else card.name
        raise OfflineError(
            f"the weights of {card.name} are not on this machine and the network is off: run "
            f"`manyeyes backbones pull {word}` where there is a network, and bring {folder} here"
        )
    scratch = folder.with_name(f".fetching-{folder.name}")
    shutil.rmtree(scratch, ignore_errors=True)  # what a process that was killed left behind
    try:
        with waiting(f"fetching {card.name}"):
            fetched = source.fetch(card.where, card.inside, card.sha256, _made(scratch / "fetched"))
        prepared = _made(scratch / "prepared")
        with waiting(f"converting {card.name}"):
            NETS[card.net]().prepare(fetched, card, prepared)
            _verify(card, prepared)
        _record(card, fetched, prepared)
        shutil.rmtree(folder, ignore_errors=True)  # the weights of a local file that has changed
        prepared.replace(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _verify(card: Card, prepared: Path) -> None:
    from manyeyes.backbones.verify import check_reference

    check_reference(card, NETS[card.net]().load(card, prepared))


def _verify_again(card: Card, folder: Path) -> None:
    check_undamaged(folder, weights_sha256(card))
    with waiting(f"verifying {card.name}"):
        _verify(card, folder)
    # Replaced in one step: a record half written would make whole weights unreadable.
    renewed = folder.with_name(f".record-{folder.name}")
    _write_record(renewed, _read_record(folder) | {"card": card.to_dict()})
    renewed.replace(folder / RECORD)


def _record(card: Card, fetched: Path, prepared: Path) -> None:
    (weights,) = prepared.iterdir()
    record = {
        "card": card.to_dict(),
        "conversion": CONVERSION,
        "weights_file": weights.name,
        "weights_sha256": sha256_of(weights),
        "fetched_sha256": sha256_of(fetched) if fetched.is_file() else card.sha256,
        "manyeyes": __version__,
    }
    _write_record(prepared / RECORD, record)


def _write_record(path: Path, record: dict[str, Any]) -> None:
    path.write_text(json.dumps(record, indent=1), encoding="utf-8")


def _read_record(folder: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        _ = record["card"]["name"], record["weights_sha256"], record["fetched_sha256"]
    except (ValueError, KeyError, TypeError):
        message = f"{folder / RECORD} was damaged: delete {folder}, and the weights are fetched again"
        raise ChecksumError(message) from None
    return record


def _weight_file(record: dict[str, Any]) -> str:
    # The first records did not name the file: all nets but one call it the same.
    return str(record.get("weights_file", "model.onnx" if record["card"]["net"] == "onnx" else "model.safetensors"))


def _is_up_to_date(card: Card) -> bool:
    """True for weights of the present converter. A file that the user may overwrite is looked at again each time."""
    if not is_here(card):
        return False
    record = _read_record(weights_folder(card))
    if record.get("conversion", 1) < CONVERSION:  # the first records did not name it
        return False
    if card.sha256 is not None:  # the folder is named by it
        return True
    path = Path(card.where).expanduser()
    return not (card.is_local and path.is_file() and sha256_of(path) != record["fetched_sha256"])


def _is_verified(card: Card) -> bool:
    verified = _read_record(weights_folder(card))["card"]
    wanted = json.loads(json.dumps(card.to_dict()))  # JSON knows no tuples
    return all(verified.get(name) == wanted[name] for name in _VERIFIED)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
