"""One backbone and any number of domains, of which one at a time is in use."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from manyeyes.adapt.adapters import Adapter
from manyeyes.adapt.domain import Domain
from manyeyes.adapt.plan import Plan
from manyeyes.adapt.sites import body_of, find_sites, norms_of
from manyeyes.backbones.nets.feature_gate import FeatureGate
from manyeyes.backbones.nets.gated import POOLED
from manyeyes.backbones.nets.stages import find_stages, pooled, weighed
from manyeyes.backbones.nets.whole import FEATURES, Headed, WholeNet
from manyeyes.errors import AdaptError, UnknownNameError

# The parameters of a module, and the name of one of them.
_ParameterSeat = tuple[dict[str, nn.Parameter | None], str]


class _Table(NamedTuple):
    """Whose turn it is: norms in the order of their seats, weights by name, or None for the backbone's, adapters by
    site, gates by stage."""

    norms: list[nn.Module]
    body: Mapping[str, nn.Parameter] | None
    adapters: Mapping[str, Adapter]
    gates: Mapping[str, FeatureGate]


class DomainBank(nn.Module):
    """Photos framed for the backbone, (B, S, S, 3) uint8 RGB → logits (B, C) of the domain in use.

    The backbone is frozen: whatever is trained, it stays as it was, bit for bit. Switching moves no numbers: the norms
    of a domain take the place of the backbone's, weights of its own that of the backbone's, and layers look up their
    adapters and gates in another table.

    Parameters
    ----------
    whole : the backbone, as :meth:`manyeyes.backbones.nets.torch_net.TorchNet.assemble` makes it.
    size : side of its photos in pixels.
    """

    def __init__(self, whole: WholeNet, size: int) -> None:
        super().__init__()
        self.size = size
        # In memory as training and the engines want it: the order of sums, and so the last bit, depends on that.
        whole.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._whole = whole.eval().requires_grad_(False)
        self.sites = find_sites(whole, size)
        self.source_norms = norms_of(whole.network)
        self._domains = nn.ModuleList()
        self._numbers: dict[str, int] = {}
        self._active: str | None = None
        self._is_kept = False
        # Found once, used at every switch: where norms sit, and whose norms, weights, adapters and gates count.
        self._seats = [_seat(whole.network, name) for name in self.source_norms]
        self._tables: dict[str | None, _Table] = {None: _Table(list(self.source_norms.values()), None, {}, {})}
        self._table = self._tables[None]
        stages = find_stages(whole, size)
        self.stages = tuple(stages)
        with torch.no_grad():
            features = whole(torch.zeros(1, size, size, 3, dtype=torch.uint8))[FEATURES]
        # How many channels the stages end with, and how many features there are in the end.
        self.dimensions = stages | {POOLED: features.shape[1]}
        for site in self.sites:
            site.layer.register_forward_hook(partial(self._adapted, site.name))
        for stage in self.stages:
            whole.network.get_submodule(stage).register_forward_hook(partial(self._weighed, stage))

    @property
    def names(self) -> tuple[str, ...]:
        """The domains, in the order in which they were added."""
        return tuple(self._numbers)

    @property
    def active(self) -> str | None:
        """The domain in use; None for the backbone as it came."""
        return self._active

    def __getitem__(self, name: str) -> Domain:
        if name not in self._numbers:
            known = ", ".join(self._numbers) or "none yet"
            raise UnknownNameError(f"the bank has no domain {name!r}: it has {known}")
        domain = self._domains[self._numbers[name]]
        assert isinstance(domain, Domain)
        return domain

    def put(self, name: str, domain: Domain) -> Self:
        """Take in a domain, in the place of that which had its name. Raises AdaptError for one of another backbone."""
        if not name:
            raise AdaptError("a domain wants a name")
        _check_fits(domain, self)
        if name in self._numbers:
            self._domains[self._numbers[name]] = domain
        else:
            self._numbers[name] = len(self._domains)
            self._domains.append(domain)
        # In memory as the backbone is, see above.
        domain.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        norms = [domain.norms[seat] for seat in self.source_norms]
        self._tables[name] = _Table(norms, domain.body or None, domain.adapters, domain.gates)
        domain.train(self.training)
        if name == self._active:
            self.switch(name)
        return self

    def put_new(self, name: str, classes: tuple[str, ...], plan: Plan) -> Domain:
        """Take in a domain that knows nothing yet, with adapters as planned."""
        body = self.source_body if plan.method == "full" else {}
        gates = plan.gates(self.dimensions)
        domain = Domain.new(classes, self.dimension, self.source_norms, plan.adapters(self.sites), gates, body)
        domain.keeps_statistics = plan.statistics == "source"
        if plan.head == "random":
            domain.draw_head()
        self.put(name, domain)
        return domain

    def switch(self, name: str | None) -> Self:
        """Use another domain, or with None the backbone as it came. Takes microseconds.

        Raises AdaptError for another than that in use while :meth:`kept`.
        """
        if self._tables.get(name) is self._table:
            return self
        if self._is_kept:
            raise AdaptError(f"the network is on a path of {self._active or 'the backbone'}: leave it before a switch")
        if name not in self._tables:
            self[name or ""]  # says which there are
        before, self._table = self._table, self._tables[name]
        for (holder, place), norm in zip(self._seats, self._table.norms, strict=True):
            holder[place] = norm
        if self._table.body is not before.body:
            body = self._table.body or self.source_body
            for key, (parameters, place) in self._body_seats:
                parameters[place] = body[key]
        self._active = name
        return self

    @contextmanager
    def kept(self) -> Iterator[Self]:
        """The domain in use stays in use for the time of a block, in which its parts may be changed in their places."""
        before, self._is_kept = self._is_kept, True
        try:
            yield self
        finally:
            self._is_kept = before

    @contextmanager
    def using(self, name: str | None) -> Iterator[Self]:
        """Another domain for the time of a block."""
        before = self._active
        try:
            yield self.switch(name)
        finally:
            self.switch(before)

    def forward(self, framed: Tensor, domain: str | None = None) -> Tensor:
        """Logits of the domain in use, or of the one named, which is then in use."""
        if domain is not None:
            self.switch(domain)
        if self._active is None:
            raise AdaptError("no domain is in use: name one")
        return self[self._active].logits(self.features(framed))

    def features(self, framed: Tensor) -> Tensor:
        """Features (B, D) as the domain in use sees them, or the backbone by itself."""
        features = self._ungated(framed)
        return features if self._active is None else self[self._active].weighed(features)

    def feature_weights(self, framed: Tensor) -> Tensor:
        """What the gate over the features of the domain in use weighs them by: (B, D). Raises AdaptError where there is
        none."""
        gate = None if self._active is None else self[self._active].gates.get(POOLED)
        if gate is None:
            raise AdaptError(f"{self._active or 'the backbone'} has no gate over its features")
        weights: Tensor = gate(self._ungated(framed))
        return weights

    def _ungated(self, framed: Tensor) -> Tensor:
        features: Tensor = self._whole(framed)[FEATURES]
        return features.to(next(self._whole.parameters()).dtype)  # mixed precision ends here

    @property
    def device(self) -> torch.device:
        return next(self._whole.parameters()).device

    def blank(self, photos: int = 1, size: int | None = None) -> Tensor:
        """Black photos to try the network with, of its own size or another: (B, S, S, 3)."""
        side = size or self.size
        return torch.zeros(photos, side, side, 3, dtype=torch.uint8, device=self.device)

    def train(self, mode: bool = True) -> Self:
        """As of any module; but the backbone's own norms never train: their running statistics stay what they are."""
        super().train(mode)
        for norm in self.source_norms.values():
            norm.eval()
        return self

    @property
    def network(self) -> Headed:
        """The backbone's network as it stands: with the norms, or all weights, of the domain in use."""
        return self._whole.network

    def multiple(self) -> float:
        """All parameters but the heads, in units of the backbone's: 1 + what each domain has of its own (what domains
        share counted once)."""
        return 1 + _count(self[name] for name in self.names) / self.backbone_size()

    def domain_size(self, name: str) -> int:
        """How many parameters a domain has, less its head's."""
        return _count([self[name]])

    def shared_size(self) -> int:
        """How many of them each domain shares with all others."""
        domains = [self[name] for name in self.names]
        alone = sum(_count([one]) for one in domains)
        return (alone - _count(domains)) // (len(domains) - 1) if len(domains) > 1 else 0

    @property
    def dimension(self) -> int:
        """D, of the features."""
        dimension: int = self.dimensions[POOLED]
        return dimension

    @cached_property
    def source_body(self) -> dict[str, nn.Parameter]:
        """The backbone's weights that a domain may have of its own (:func:`manyeyes.adapt.sites.body_of`).

        Found when they are first wanted, which is before any domain has its own.
        """
        with self.using(None):
            found = body_of(self._whole.eval(), self.size)
        self.train(self.training)
        return found

    @cached_property
    def _body_seats(self) -> list[tuple[str, _ParameterSeat]]:
        """Everywhere that one of these is: some networks have one in several places."""
        names = {id(one): name for name, one in self.source_body.items()}
        return [
            (names[id(parameter)], (module._parameters, place))
            for module in self._whole.network.modules()
            for place, parameter in module._parameters.items()
            if id(parameter) in names
        ]

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        # So that the backbone's own norms and weights are in their places, and are moved as well.
        with self.using(None):
            super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def backbone_size(self) -> int:
        """How many parameters the backbone has."""
        with self.using(None):
            return sum(parameter.numel() for parameter in self._whole.parameters())

    def norms_size(self) -> int:
        """How many of them are those of its norms."""
        return sum(parameter.numel() for norm in self.source_norms.values() for parameter in norm.parameters())

    def _adapted(self, site: str, layer: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> Any:
        adapter = self._table.adapters.get(site)
        return made if adapter is None else adapter(given[0], made)

    def _weighed(self, stage: str, module: nn.Module, given: Any, made: Tensor) -> Tensor:
        gate = self._table.gates.get(stage)
        return made if gate is None else weighed(made, gate(pooled(made, self._whole.network)))


def _seat(network: nn.Module, name: str) -> tuple[dict[str, nn.Module | None], str]:
    holder, _, place = name.rpartition(".")
    return network.get_submodule(holder)._modules, place


def _check_fits(domain: Domain, bank: DomainBank) -> None:
    sites = {site.name: site for site in bank.sites}
    if strange := domain.adapters.keys() - sites.keys():
        raise AdaptError(
            f"the domain was made for another backbone: it adapts {sorted(strange)[0]}, which this one lacks"
        )
    dimensions = {place: gate.dimension for place, gate in domain.gates.items()}
    if not dimensions.items() <= bank.dimensions.items():
        raise AdaptError("the domain was made for another backbone: its gates do not fit this one")
    if domain.body and _shapes(domain.body) != _shapes(bank.source_body):
        raise AdaptError("the domain was made for another backbone: its weights do not fit this one")
    if domain.norms.keys() != bank.source_norms.keys() or domain.head.in_features != bank.dimension:
        raise AdaptError("the domain was made for another backbone: its norms or its head do not fit this one")


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}


def _count(domains: Iterable[Domain]) -> int:
    """Parameters of all but the heads, those that several share counted once."""
    roles = [domain.role_parameters() for domain in domains]
    distinct = {id(one): one.numel() for role in roles for name, ones in role.items() if name != "head" for one in ones}
    return sum(distinct.values())
