"""What all torch networks share: weights kept as safetensors, and the graph that an engine runs."""

import dataclasses
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from manyeyes.backbones.card import Card
from manyeyes.backbones.engines import Job, find_engine
from manyeyes.backbones.nets import FINAL, PLAIN, SECOND_ORDER, Encoder, Precision, Run
from manyeyes.backbones.nets.gated import INNER, Gated, gates_among
from manyeyes.backbones.nets.smaller import shrink_to
from manyeyes.backbones.nets.whole import Headed, WholeNet
from manyeyes.backbones.second_order.tap import VERSION, SecondOrderTap
from manyeyes.errors import CardError

WEIGHTS = "model.safetensors"
# A network with gates can be adapted once more, with gates.
MOST_GATED = 8


class TorchNet(ABC):
    """A :class:`~manyeyes.backbones.nets.Net` that needs only to say how to build and how to convert."""

    taps = (FINAL, SECOND_ORDER)
    precisions: tuple[Precision, ...] = ("fp32", "bf16")

    @abstractmethod
    def build(self, card: Card) -> Headed:
        """The architecture, its weights still to be filled in."""

    @abstractmethod
    def convert(self, fetched: Path, card: Card) -> dict[str, Tensor]:
        """The fetched file's tensors under the names that :meth:`build`'s network gives them."""

    def prepare(self, fetched: Path, card: Card, folder: Path) -> None:
        tensors = self._already_converted(fetched, card) or self.convert(fetched, card)
        save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, folder / WEIGHTS)

    def _already_converted(self, fetched: Path, card: Card) -> dict[str, Tensor] | None:
        """The tensors of a file of ours, such as the weights of a folded network; None for all others."""
        if fetched.suffix != ".safetensors":
            return None
        state = load_file(fetched)
        return state if state.keys() == self.network_for(card, state).state_dict().keys() else None

    def network_for(self, card: Card, state: Mapping[str, Tensor]) -> Headed:
        """The architecture that a state is of: as small as that is, and with feature gates, when there are any in it.

        Raises CardError for gates of another network.
        """
        gates = gates_among(state)
        if not gates:
            network = self.build(card)
            shrink_to(network, state)
            return network
        inner = {name.removeprefix(INNER): tensor for name, tensor in state.items() if name.startswith(INNER)}
        if any(name.startswith(INNER * MOST_GATED) for name in inner):
            raise CardError(f"{card.name}: more than {MOST_GATED} gates behind each other are none of ours")
        try:
            return Gated(self.network_for(card, inner), gates)
        except (AttributeError, KeyError) as error:
            raise CardError(f"{card.name}: a feature gate is for another network: {error}") from None

    def load(self, card: Card, folder: Path, run: Run = PLAIN) -> Encoder:
        """Raises EngineError when this machine cannot have the engine, CardError when the weights do not fit."""
        return find_engine(run.engine).start(self.job(card, folder, run))

    def job(self, card: Card, folder: Path, run: Run = PLAIN) -> Job:
        """The network as an engine wants it."""
        build = partial(self.assemble, card, folder, run.taps)
        return Job(card.name, _key(card, run), folder, card.preprocessing.size, build, run)

    def assemble(self, card: Card, folder: Path, taps: tuple[str, ...] = (FINAL,)) -> WholeNet:
        """The network with its weights, the card's normalisation and its taps, in float32 on the CPU."""
        state = load_file(folder / WEIGHTS)
        network = self.network_for(card, state).eval().requires_grad_(False)
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise CardError(f"{card.name}: the weights do not fit {card.architecture}: {_summary(error)}") from None
        if isinstance(network, Gated):
            _check_gates(network, card)
        tap = SecondOrderTap.of(network, card, folder) if SECOND_ORDER in taps else None
        return WholeNet(network, card.preprocessing, tap).eval()


def _key(card: Card, run: Run) -> str:
    """Sixteen hex digits that change with whatever changes the graph, for weights of one folder."""
    identity = [card.net, card.architecture, dataclasses.asdict(card.preprocessing), run.taps, VERSION]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


@torch.no_grad()
def _check_gates(network: Gated, card: Card) -> None:
    """A look at one photo: Raise CardError for gates of other features than the network has."""
    size = card.preprocessing.size
    try:
        network(torch.zeros(1, 3, size, size))
    except RuntimeError as error:
        raise CardError(f"{card.name}: a feature gate is for another network: {_summary(error)}") from None


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` file, or of a torch checkpoint read without running any code in it."""
    if path.suffix == ".safetensors":
        return load_file(path)
    try:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    # torch raises errors of many kinds for files that are not checkpoints; none of them may pass for weights.
    except Exception as error:
        raise CardError(f"{path.name} cannot be read as weights: {_summary(error)}") from None
    return state


def _summary(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
