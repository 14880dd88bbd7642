"""Fold a domain into its backbone's weights: an ordinary network again, at no extra cost, with a card of its own."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from manyeyes.adapt.adapters import SERIES_STAYS
from manyeyes.adapt.bank import DomainBank
from manyeyes.backbones.card import Card
from manyeyes.backbones.engines.torch_engine import TorchEncoder
from manyeyes.backbones.nets import NETS
from manyeyes.backbones.nets.gated import gated_state
from manyeyes.backbones.nets.torch_net import TorchNet
from manyeyes.backbones.nets.whole import FEATURES, Headed, WholeNet
from manyeyes.backbones.preprocess import frame
from manyeyes.backbones.second_order.generated import generated_photos
from manyeyes.backbones.sources import sha256_of
from manyeyes.backbones.verify import reference_numbers
from manyeyes.errors import AdaptError
from manyeyes.writing import try_writing, written_whole

# Of the largest feature: how far those of the folded network may be from those of the adapted one. Both in double
# precision: a network that was trained hard may multiply the rounding of single precision beyond that.
TOLERANCE = 1e-5
WEIGHTS, CARD = "weights.safetensors", "card.json"


@torch.no_grad()
def folded_state(bank: DomainBank, name: str) -> dict[str, Tensor]:
    """The tensors of the backbone's network with the domain folded in, and behind its gates, if it has any: what
    :meth:`manyeyes.backbones.nets.torch_net.TorchNet.network_for` makes a network of. Raises AdaptError for series
    adapters."""
    domain = bank[name]
    with bank.using(name):
        state = {key: tensor.clone() for key, tensor in bank.network.state_dict().items()}
    for site, adapter in domain.adapters.items():
        adapter.fold_into(state[f"{site}.weight"])
    return gated_state(state, domain.gates)


def write_folded(bank: DomainBank, name: str, card: Card, folder: Path) -> Card:
    """Write the folded network as ``folder``, which ``local:FOLDER`` then names in every zoo. Returns its card.

    ``card`` is that of the backbone, with the preprocessing that the domain was trained with. The bank is on the
    processor afterwards. Raises AdaptError when the folded network does not see generated photos as the adapted one
    does, or the folder is not free.
    """
    check_folder(folder)
    bank.cpu().double()
    try:
        state = folded_state(bank, name)
        _check_same(bank, name, _built(_plain(card, folder), state), card)
    finally:
        bank.float()  # what was single before comes back as it was
    return write_backbone(state, card, folder)


def write_backbone(state: Mapping[str, Tensor], card: Card, folder: Path) -> Card:
    """Write a network as ``folder``: that whose state this is, made from the backbone of ``card``, on the processor.

    A source head is left behind. Returns its card. Raises AdaptError when the folder is not free.
    """
    check_folder(folder)
    plain = _plain(card, folder)
    network = _built(plain, state).float()
    encoder = TorchEncoder(WholeNet(network, card.preprocessing).eval())
    numbers = reference_numbers(plain, encoder).round(5).tolist()
    try:
        with written_whole(folder) as hidden:
            hidden.mkdir()
            save_file({key: tensor.contiguous() for key, tensor in network.state_dict().items()}, hidden / WEIGHTS)
            made = dataclasses.replace(plain, reference=tuple(numbers), sha256=sha256_of(hidden / WEIGHTS))
            (hidden / CARD).write_text(json.dumps(made.to_dict(), indent=1), encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise AdaptError(f"{folder} cannot be written: {getattr(error, 'strerror', None) or error}") from None
    return Card.from_file(folder / CARD)


def _plain(card: Card, folder: Path) -> Card:
    """The card of a network in ``folder`` that was made from that of another card, as far as it is known by then."""
    return dataclasses.replace(
        card, name=folder.name, source=f"local:{WEIGHTS}", labels=None, sha256=None, reference=(), bf16_checked=False
    )


def _built(plain: Card, state: Mapping[str, Tensor]) -> Headed:
    """The network of a state, in the precision of its tensors."""
    net = NETS[plain.net]()
    assert isinstance(net, TorchNet)
    network = net.network_for(plain, state).eval()
    network.to(next(iter(state.values())).dtype)
    network.load_state_dict({key: state[key] for key in network.state_dict()})
    return network


def check_folder(folder: Path, method: str = "parallel") -> None:
    """Raise AdaptError for a folder that is not free, or a method whose adapters cannot be folded."""
    if method == "series":
        raise AdaptError(SERIES_STAYS)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise AdaptError(f"{folder} is not empty: choose another folder")
    if not folder.name or folder.name.startswith("."):
        raise AdaptError(f"{folder} names no backbone: choose a folder whose name does not begin with a dot")
    try:
        try_writing(folder)
    except OSError as error:
        raise AdaptError(f"{folder} cannot be written: {error.strerror}") from None


@torch.inference_mode()
def _check_same(bank: DomainBank, name: str, network: Headed, card: Card) -> None:
    folded = WholeNet(network, card.preprocessing).eval()
    photos = np.stack([frame(photo, *card.preprocessing.framing) for photo in generated_photos(4)])
    was_training = bank.training
    with bank.using(name):
        adapted = bank.eval().features(torch.from_numpy(photos))
        bank.train(was_training)
    distance = float((folded(torch.from_numpy(photos))[FEATURES] - adapted).abs().max() / adapted.abs().max())
    if not distance <= TOLERANCE:
        raise AdaptError(
            f"the folded network misses what the adapted one sees by {distance:.1g} of the largest feature"
        )
