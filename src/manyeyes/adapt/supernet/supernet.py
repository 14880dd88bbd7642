"""A supernet out of any pre-trained network: the network, the space of paths through it, and what each path costs."""

import copy
import dataclasses
import pathlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode

from manyeyes.adapt.adapters import Adapter, Behind
from manyeyes.adapt.bank import DomainBank
from manyeyes.adapt.domain import NOTHING, Domain
from manyeyes.adapt.fold import write_backbone
from manyeyes.adapt.maps import LowRank
from manyeyes.adapt.supernet.blocks import find_blocks
from manyeyes.adapt.supernet.cuts import Change, adapter_left, change_of, extracted, on_path, rank_channels
from manyeyes.adapt.supernet.exits import exit_heads, find_exits
from manyeyes.adapt.supernet.space import EVERYWHERE, Gene, Path, PathSpace
from manyeyes.backbones.card import Card
from manyeyes.backbones.nets.smaller import Cut
from manyeyes.errors import AdaptError

# Sides of photos as shares of what the network came with, to the nearest multiple of the step.
SIZES, STEP, LEAST_SIZE = (6 / 7, 5 / 7), 16, 32
# Shares of the adapters' rank.
RANKS = (1.0, 0.5, 0.0)
# Seconds that the time of a path is measured for, at least.
MEASURED = 0.2


@dataclass(frozen=True)
class Cost:
    """macs : multiply-accumulates for one photo. parameters : of all that the features depend on."""

    macs: int
    parameters: int


class Supernet:
    """The paths of a bank's backbone as a domain of the bank has it; with its adapters, which become smaller as well.

    bank : of the backbone. name : of the domain; None for the backbone as it came. heads : of the domain's exits.

    Raises AdaptError for a network of which nothing can be left out, and for a domain with gates or series adapters,
    which fit one path only.
    """

    def __init__(self, bank: DomainBank, name: str | None = None) -> None:
        self.bank, self.name = bank, name
        domain = self._domain
        if domain is not None and (domain.gates or any(isinstance(one, Behind) for one in domain.adapters.values())):
            raise AdaptError("gates and series adapters fit one path only: a supernet does without them")
        was_training = bank.training
        with bank.using(None):
            bank.eval()
            self.blocks = find_blocks(bank)
            self.exits = find_exits(bank, self.blocks)
            sizes = Gene(EVERYWHERE, "size", _sizes(bank))
            # By the weights that the network came with: channels that one path has, all wider paths have.
            self._ranking = rank_channels(bank.network, self.blocks)
            norms = {f"{name}.{key}" for name, norm in bank.source_norms.items() for key, _ in norm.named_parameters()}
            self._counted = norms | bank.source_body.keys()
        bank.train(was_training)
        exits = Gene(EVERYWHERE, "exit", tuple(float(number) for number in range(len(self.exits) + 1)))
        behind = {float(number): one.blocks for number, one in enumerate(self.exits, 1)}
        self.space = PathSpace.of(self.blocks, [*_ranks(bank, domain), exits, sizes], behind)
        self.heads = nn.ModuleDict() if domain is None else exit_heads(self.exits, len(domain.classes))
        self._costs: dict[Path, Cost] = {}

    @contextmanager
    def on(self, path: Path) -> Iterator[DomainBank]:
        """The bank uses the domain, and sees by that path, for the time of a block.

        Meanwhile no other domain can be used. Raises AdaptError for a path of another network.
        """
        change, domain, head = self._change(path), self._domain, self.head(path)
        with self.bank.using(self.name), on_path(self.bank.network, change, self._adapters):
            if domain is None or head is None:
                yield self.bank
                return
            whole_head = domain.head
            try:
                domain.head = head
                yield self.bank
            finally:
                domain.head = whole_head

    def head(self, path: Path) -> nn.Linear | None:
        """The domain's head for what the path ends with; None where there is no domain."""
        if self._domain is None:
            return None
        head = self.heads[str(end)] if (end := self._exit(path)) else self._domain.head
        assert isinstance(head, nn.Linear)
        return head

    def ways_out(self) -> list[Path]:
        """The paths that end at the exits, and the full one, with all that lies before."""
        exits = [gene.kind == "exit" for gene in self.space.genes]
        ends = range(len(self.exits) + 1)
        return [self.space.settled(tuple(end if is_exit else 0 for is_exit in exits)) for end in ends]

    def extract(self, path: Path) -> nn.Module:
        """The path as a network of its own, adapters folded in. Given photos of :meth:`size` it sees what the supernet
        sees on the path."""
        change = self._change(path)
        with self.bank.using(self.name):
            network = copy.deepcopy(self.bank.network, {id(self.bank): self.bank})
        for module in network.modules():  # the bank listens to its own network only
            module._forward_hooks.clear()
        for site, adapter in self._adapters.items():
            adapter = copy.deepcopy(adapter)
            for where, name, value in adapter_left(adapter, Cut(), change.ranks.get(site)):
                where[name] = nn.Parameter(value.detach())
            adapter.fold_into(network.get_parameter(f"{site}.weight"))
        return extracted(network, change)

    def write(self, path: Path, card: Card, folder: pathlib.Path) -> Card:
        """Write the path as ``folder``, which ``local:FOLDER`` then names in every zoo. Returns its card.

        ``card`` is that of the backbone. Raises AdaptError when the folder is not free.
        """
        return write_backbone(self.extract(path).state_dict(), self.card_of(path, card), folder)

    def card_of(self, path: Path, card: Card) -> Card:
        """The backbone's card with what a path makes other of it."""
        preprocessing = card.preprocessing.at(self.size(path))
        macs, dimension = self.cost(path).macs / 1e9, self.dimension(path)
        return dataclasses.replace(card, macs=macs, dimension=dimension, preprocessing=preprocessing)

    def size(self, path: Path) -> int:
        """Side of the photos that a path looks at, in pixels."""
        return int(self.space.choices(path).get((EVERYWHERE, "size"), self.bank.size))

    def dimension(self, path: Path) -> int:
        """D, of the features that a path ends with."""
        end = self._exit(path)
        return self.exits[end - 1].dimension if end else self.bank.dimension

    def cost(self, path: Path) -> Cost:
        """Counted on a photo, once for each path."""
        path = self.space.settled(path)
        if path not in self._costs:
            with self._looking(path), FlopCounterMode(display=False) as counter:
                self.bank.features(self._photo())
                own = {name: one.numel() for name, one in self.bank.network.named_parameters()}
            parameters = sum(count for name, count in own.items() if name in self._counted)
            self._costs[path] = Cost(counter.get_total_flops() // 2, parameters)
        return self._costs[path]

    def seconds(self, path: Path, photos: int = 8) -> float:
        """Measured: for one photo of so many that are looked at in one go, the median."""
        framed = self._photo().expand(photos, -1, -1, -1).contiguous()
        with self._looking(path):
            timer = Timer("look(framed)", globals={"look": self.bank.features, "framed": framed})
            return float(timer.blocked_autorange(min_run_time=MEASURED).median) / photos

    @contextmanager
    def _looking(self, path: Path) -> Iterator[None]:
        was_training = self.bank.training
        self.bank.eval()
        try:
            with self.on(path), torch.no_grad():
                yield
        finally:
            self.bank.train(was_training)

    def _photo(self) -> Tensor:
        device = next(self.bank.parameters()).device
        return torch.zeros(1, self.bank.size, self.bank.size, 3, dtype=torch.uint8, device=device)

    @property
    def _domain(self) -> Domain | None:
        return None if self.name is None else self.bank[self.name]

    @property
    def _adapters(self) -> Mapping[str, Adapter]:
        return NOTHING if self._domain is None else self._domain.adapters

    def _exit(self, path: Path) -> int:
        return int(self.space.choices(path).get((EVERYWHERE, "exit"), 0.0))

    def _change(self, path: Path) -> Change:
        path = self.space.settled(path)
        change = change_of(self.bank.network, self.blocks, self.space, path, self._ranking)
        choices = self.space.choices(path)
        if end := self._exit(path):
            change.skipped += self.exits[end - 1].skipped
            change.ends_early = True
        if self.size(path) != self.bank.size:
            change.size = self.size(path)
        for site in self.bank.sites:
            if (rank := choices.get((site.stage, "rank"))) is not None and site.name in self._adapters:
                change.ranks[site.name] = int(rank)
        return change


def _sizes(bank: DomainBank) -> tuple[float, ...]:
    """Sides of photos that the network can look at."""
    found = [float(bank.size)]
    for share in SIZES:
        size = round(share * bank.size / STEP) * STEP
        if LEAST_SIZE <= size < found[-1] and _can_look(bank, size):
            found.append(float(size))
    return tuple(found)


def _can_look(bank: DomainBank, size: int) -> bool:
    photo = torch.zeros(1, size, size, 3, dtype=torch.uint8, device=next(bank.parameters()).device)
    try:
        with torch.no_grad():
            bank.features(photo)
    except (RuntimeError, AssertionError, ValueError):  # transformers know one size
        return False
    return True


def _ranks(bank: DomainBank, domain: Domain | None) -> list[Gene]:
    """For each third of the network, the rank of a domain's adapters there."""
    adapters = {} if domain is None else domain.adapters
    most: dict[str, int] = {}
    for site in bank.sites:
        map_ = adapters[site.name].map if site.name in adapters else None
        if isinstance(map_, LowRank):
            most[site.stage] = max(most.get(site.stage, 0), len(map_.gamma))
    return [
        Gene(stage, "rank", tuple(dict.fromkeys(float(round(share * rank)) for share in RANKS)))
        for stage, rank in most.items()
    ]
