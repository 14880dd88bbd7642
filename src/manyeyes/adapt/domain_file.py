"""Domains ↔ a file: safetensors with what each has of its own, what they share once, and what they belong to.

A file of one domain is a few per cent of the backbone's size, or with all weights, as large as that. Nothing in it can
run code, and what is read is checked against a checksum, against the layers of the backbone, and tensor by tensor.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from manyeyes.adapt.adapters import Adapter, Behind, Beside, PatchesBeside
from manyeyes.adapt.bank import DomainBank
from manyeyes.adapt.domain import Domain
from manyeyes.adapt.maps import ChannelMap, Full, LowRank, PerChannel
from manyeyes.adapt.sites import Kind, Site
from manyeyes.backbones.card import Card
from manyeyes.backbones.nets.feature_gate import FeatureGate
from manyeyes.backbones.zoo import card_from_others
from manyeyes.errors import AdaptError, CardError
from manyeyes.version import __version__
from manyeyes.writing import try_writing, written_whole

FORMAT, VERSION = "manyeyes-domains", 1
_HEADER = "manyeyes"


@dataclass(frozen=True)
class Header:
    """What the domains of a file belong to.

    card : of the backbone. weights : sha256 of its weights. size : of the photos that they were trained on, in pixels.
    classes : of each domain, by name. facts : by name, how it was trained and what came of it.
    """

    card: Card
    weights: str
    size: int
    classes: Mapping[str, tuple[str, ...]]
    facts: Mapping[str, Any] = field(default_factory=dict)


def save_domains(bank: DomainBank, card: Card, weights: str, path: Path, facts: Mapping[str, Any]) -> None:
    """Write all domains of a bank to a file, whole or not at all. Raises AdaptError when it cannot be written."""
    tensors: dict[str, Tensor] = {}
    first: dict[int, str] = {}
    shared: dict[str, str] = {}
    for number, name in enumerate(bank.names):
        for key, tensor in bank[name].state_dict(keep_vars=True).items():
            place = f"{number}/{key}"
            if id(tensor) in first:
                shared[place] = first[id(tensor)]
            else:
                first[id(tensor)] = place
                tensors[place] = tensor.detach().contiguous().cpu()
    header = {
        "format": FORMAT,
        "version": VERSION,
        "manyeyes": __version__,
        "card": card.to_dict(),
        "weights": weights,
        "size": bank.size,
        "domains": {name: list(bank[name].classes) for name in bank.names},
        "facts": dict(facts),
        "keeps_statistics": {name: bank[name].keeps_statistics for name in bank.names},
        "shared": shared,
    }
    text = json.dumps(header)
    try:
        with written_whole(path) as hidden:
            save_file(tensors, hidden, metadata={_HEADER: text, "sha256": _sha256(text, tensors)})
            hidden.chmod(0o644)  # safetensors makes its file for the owner's eyes only
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AdaptError(f"the domain {path} cannot be written: {reason}") from None


def check_place(path: Path) -> None:
    """Raise AdaptError unless domains can be written there: nothing is, or older domains are, and the disk lets us."""
    if path.is_dir():
        raise AdaptError(f"{path} is a folder: name a file, such as domain.safetensors")
    if path.exists():
        read_header(path)
    try:
        try_writing(path)
    except OSError as error:
        raise AdaptError(f"no domain can be written to {path}: {error.strerror}") from None


def read_header(path: Path) -> Header:
    """What a file's domains belong to. Raises AdaptError for a file that is none of ours."""
    try:
        with safe_open(path, "pt") as file:
            return _header(json.loads((file.metadata() or {})[_HEADER]))
    except FileNotFoundError:
        raise AdaptError(f"there is no domain at {path}") from None
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError, CardError) as error:
        raise AdaptError(f"{path} holds no domain of manyeyes: {error}") from None


def load_domains(path: Path, bank: DomainBank) -> None:
    """Put the domains of a file into the bank of their backbone. Raises AdaptError for a file that is damaged, none of
    ours, or made for another backbone."""
    read_header(path)  # says what is wrong with a file of another kind
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise AdaptError(f"{path} cannot be read: {error}") from None
    if metadata.get("sha256") != _sha256(metadata[_HEADER], tensors):
        raise AdaptError(f"{path} was damaged or changed after it was written")
    header = json.loads(metadata[_HEADER])
    names = list(header["domains"])
    try:
        for number, (name, classes) in enumerate(header["domains"].items()):
            mine = {key: place for key, place in header["shared"].items() if key.startswith(f"{number}/")}
            state = {key: tensor for key, tensor in tensors.items() if key.startswith(f"{number}/")}
            state |= {key: tensors[place] for key, place in mine.items()}
            domain = _rebuilt(bank, tuple(classes), {key.partition("/")[2]: tensor for key, tensor in state.items()})
            for key, place in mine.items():
                owner, beta = place.split("/", 1)
                _share_beta(domain, key.partition("/")[2], bank[names[int(owner)]].get_parameter(beta))
            domain.keeps_statistics = bool(header["keeps_statistics"][name])
            bank.put(name, domain)
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise AdaptError(f"{path} does not fit the backbone: {' '.join(str(error).split())[:200]}") from None


def _rebuilt(bank: DomainBank, classes: tuple[str, ...], state: dict[str, Tensor]) -> Domain:
    """The domain whose tensors these are: what they are called and how they are shaped says what adapters it has."""
    parts = _parted(state, "_adapters.")
    sites = {site.name: site for site in bank.sites}
    adapters = {name: _adapter(sites[name], part) for name, part in parts.items()}
    gates = {place: FeatureGate.from_tensors(part) for place, part in _parted(state, "_gates.").items()}
    body = {name: nn.Parameter(part[""].float()) for name, part in _parted(state, "_body.").items()}
    domain = Domain.new(classes, bank.dimension, bank.source_norms, adapters, gates, body)
    domain.load_state_dict(state)
    return domain


def _parted(state: Mapping[str, Tensor], prefix: str) -> dict[str, dict[str, Tensor]]:
    """Tensors by the layer or the place that they belong to, and by their names there."""
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in state.items():
        if key.startswith(prefix):
            place, _, name = key.removeprefix(prefix).partition(".")
            parts.setdefault(place.replace("/", "."), {})[name] = tensor
    return parts


def _adapter(site: Site, part: Mapping[str, Tensor]) -> Adapter:
    map_ = _map(site, part)
    if any(name.startswith("norm.") for name in part):
        return Behind(site.into, map_)
    if site.kind is Kind.PATCHES and isinstance(site.layer, nn.Conv2d) and isinstance(map_, LowRank):
        return PatchesBeside(site.layer, map_)
    return Beside(site.layer, map_)


def _map(site: Site, part: Mapping[str, Tensor]) -> ChannelMap:
    if "map.gamma" in part:
        rank, out_of = part["map.gamma"].shape
        return LowRank(site.into, out_of, rank, site.is_last)
    alpha = part["map.alpha"]
    if alpha.ndim == 1:
        return PerChannel(len(alpha))
    if any(name.startswith("norm.") for name in part):
        return Full(site.into, site.into)
    return Full(site.into, site.out_of, site.groups)


def _share_beta(domain: Domain, key: str, beta: nn.Parameter) -> None:
    map_ = domain.get_submodule(key.rpartition(".")[0])
    if not isinstance(map_, LowRank):
        raise ValueError(f"{key} cannot be shared")
    map_.share(beta)


def _header(fields: dict[str, Any]) -> Header:
    if fields["format"] != FORMAT:
        raise ValueError("it was not written by manyeyes")
    if fields["version"] != VERSION:
        raise ValueError(f"it is of version {fields['version']}, and this manyeyes ({__version__}) reads {VERSION}")
    classes = {name: tuple(map(str, names)) for name, names in fields["domains"].items()}
    return Header(
        card_from_others(fields["card"]), str(fields["weights"]), int(fields["size"]), classes, dict(fields["facts"])
    )


def _sha256(text: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for key in sorted(tensors):
        tensor = tensors[key].contiguous()
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
