"""A supernet out of any pre-trained network: the network, the space of paths through it, and what each path costs."""

import copy
import dataclasses
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
from manyeyes.adapt.maps import LowRank
from manyeyes.adapt.supernet.blocks import Block, find_blocks
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
            found = find_blocks(bank)
            # By the weights that the network came with: channels that one path has, all wider paths have.
            self._ranking = rank_channels(bank.network, found)
            self.blocks = tuple(_smaller_where_it_can_be(bank, block, self._ranking) for block in found)
            self.exits = find_exits(bank, self.blocks)
            sizes = Gene(EVERYWHERE, "size", _sizes(bank))
            norms = {f"{name}.{key}" for name, norm in bank.source_norms.items() for key, _ in norm.named_parameters()}
            self._counted = norms | bank.source_body.keys()
        bank.train(was_training)
        exits = Gene(EVERYWHERE, "exit", tuple(float(number) for number in range(len(self.exits) + 1)))
        behind = {float(number): one.blocks for number, one in enumerate(self.exits, 1)}
        self.space = PathSpace.of(self.blocks, [*_ranks(bank, domain), exits, sizes], behind)
        self.heads = nn.ModuleDict() if domain is None else exit_heads(self.exits, len(domain.classes))
        self.heads.to(bank.device)
        self._costs: dict[Path, Cost] = {}

    @contextmanager
    def on(self, path: Path) -> Iterator[DomainBank]:
        """The bank uses the domain, and sees by that path, for the time of a block.

        Meanwhile no other domain can be used. Raises AdaptError for a path of another network.
        """
        change, domain, head = self._change(path), self._domain, self.head(path)
        with self.bank.using(self.name), self.bank.kept(), on_path(self.bank.network, change, self._adapters):
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
            # As the backbone has it: adapters are folded in, and a domain's weights are as many.
            was_training, bank = self.bank.training, self.bank.eval()
            with bank.using(None), on_path(bank.network, self._change(path)), torch.no_grad():
                with FlopCounterMode(display=False) as counter:
                    bank.features(bank.blank())
                own = {name: one.numel() for name, one in bank.network.named_parameters()}
            bank.train(was_training)
            parameters = sum(count for name, count in own.items() if name in self._counted)
            self._costs[path] = Cost(counter.get_total_flops() // 2, parameters)
        return self._costs[path]

    def seconds(self, path: Path) -> float:
        """Measured, for one photo (:func:`seconds_of`)."""
        with self.on(path):
            return seconds_of(self.bank)

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
        if self.size(path) != self.bank.size:
            change.size = self.size(path)
        for site in self.bank.sites:
            if (rank := choices.get((site.stage, "rank"))) is not None and site.name in self._adapters:
                change.ranks[site.name] = int(rank)
        return change


def _sizes(bank: DomainBank) -> tuple[float, ...]:
    """Sides of photos that the network can look at: transformers know one."""
    found = [float(bank.size)]
    for share in SIZES:
        size = round(share * bank.size / STEP) * STEP
        if LEAST_SIZE <= size < found[-1] and _can_look(bank, size):
            found.append(float(size))
    return tuple(found)


def seconds_of(bank: DomainBank, photos: int = 8) -> float:
    """How long a bank takes for one photo of so many that are looked at in one go: the median of several looks."""
    was_training = bank.training
    with torch.no_grad():
        timer = Timer("look(framed)", globals={"look": bank.eval().features, "framed": bank.blank(photos)})
        median = float(timer.blocked_autorange(min_run_time=MEASURED).median)
    bank.train(was_training)
    return median / photos


def _smaller_where_it_can_be(bank: DomainBank, block: Block, ranking: Mapping[str, Tensor]) -> Block:
    """The block with what can be less of it: some hold more than is usual for their kind, and can only be left out."""
    whole = dataclasses.replace(block, hidden=(), depthwise=(), kernel=0)
    return block if _can_be_less(bank, dataclasses.replace(block, skippable=False), ranking) else whole


def _can_be_less(bank: DomainBank, block: Block, ranking: Mapping[str, Tensor]) -> bool:
    if not (block.hidden or block.kernel):
        return True
    space = PathSpace.of([block], [], {})
    try:
        with on_path(bank.network, change_of(bank.network, (block,), space, space.smallest, ranking)):
            return _can_look(bank, bank.size)
    except (KeyError, AttributeError, IndexError):
        return False


def _can_look(bank: DomainBank, size: int) -> bool:
    try:
        with torch.no_grad():
            bank.features(bank.blank(size=size))
    except (RuntimeError, AssertionError, ValueError):
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
