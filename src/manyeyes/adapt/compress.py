"""Joint compression: domains share a factor of their adapters, and keep one each (CVPR 2018, section 3.3).

At each site the T domains' α_t stand side by side, A = [α_1 … α_T], (C_out, T·C_in). Of its singular values the K
largest remain: α_t ≈ β γ_tᵀ with β = U √S, (C_out, K), which all domains share, and γ_t = V_t √S, (C_in, K). Then all
are trained on together for a while. A domain that comes later learns its γ alone.
"""

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from manyeyes.adapt.adapters import Adapter, Behind
from manyeyes.adapt.domain import NOTHING, Domain
from manyeyes.adapt.maps import ChannelMap, Full, LowRank
from manyeyes.backbones.nets.feature_gate import FeatureGate
from manyeyes.errors import AdaptError

# The share of an adapter's rank that remains: at a half, nine domains of the paper's network take 1.5 times its size.
KEEP = 0.5


def compressed(domains: Mapping[str, Domain], keep: float = KEEP) -> dict[str, Domain]:
    """The same domains with adapters that share their β. ``keep`` is K as a share of the adapters' own rank, which is
    the smaller of C_out and C_in for full ones; more than 1 where adapters of low rank are to lose less by sharing.

    Adapters with a number for each channel, and those of grouped convolutions, stay as they are. Raises AdaptError
    when the domains do not all have the same adapters.
    """
    if not 0 < keep < float("inf"):
        raise AdaptError(f"compression keeps a share above 0 of the adapters' rank, not {keep}")
    new = {name: copy.deepcopy(domain) for name, domain in domains.items()}
    members = [domain.adapters for domain in new.values()]
    if not members or any(one.keys() != members[0].keys() for one in members):
        raise AdaptError("domains are compressed together when all of them adapt the same layers")
    for site in members[0]:
        _share([one[site] for one in members], keep)
    return new


def new_domain_like(
    other: Domain,
    classes: tuple[str, ...],
    norms: Mapping[str, nn.Module],
    gates: Mapping[str, FeatureGate] = NOTHING,
) -> Domain:
    """A domain that shares what ``other`` shares, which then stays as it is, and has all else to learn.

    ``norms`` are the backbone's own. With gates that leave features as they are, it begins as the backbone by itself.
    """
    adapters = copy.deepcopy(other.adapters)
    for name, adapter in adapters.items():
        if isinstance(adapter, Behind):
            adapter.norm.reset_parameters()
        mine, theirs = adapter.map, other.adapters[name].map
        for parameter in mine.parameters():
            nn.init.zeros_(parameter)
        if isinstance(mine, LowRank) and isinstance(theirs, LowRank):
            theirs.beta.requires_grad_(False)
            mine.share(theirs.beta)
    domain = Domain.new(classes, other.head.in_features, norms, adapters, gates)
    domain.keeps_statistics = other.keeps_statistics
    return domain


@torch.no_grad()
def _share(adapters: Sequence[Adapter], keep: float) -> None:
    maps = [adapter.map for adapter in adapters]
    if not all(isinstance(map_, LowRank) or (isinstance(map_, Full) and map_.groups == 1) for map_ in maps):
        return
    left, values, right = _stacked_svd(maps)
    own = max(len(map_.gamma) if isinstance(map_, LowRank) else min(map_.matrix().shape) for map_ in maps)
    rank = max(1, min(round(keep * own), len(values)))
    roots = values[:rank].sqrt()
    beta = nn.Parameter((left[:, :rank] * roots).float())
    for adapter, part in zip(adapters, right, strict=True):
        factors = LowRank(len(beta), part.shape[1], rank, adapter.map.is_last)
        factors.share(beta)
        factors.gamma.copy_(roots[:, None] * part[:rank])
        adapter.map = factors


def _stacked_svd(maps: Sequence[ChannelMap]) -> tuple[Tensor, Tensor, list[Tensor]]:
    """U (C_out, K), S (K,) and, for each map, its columns of Vᵀ, (K, C_in), of the matrices side by side.

    Factors of low rank are orthogonalised, so that what is decomposed is no larger than the sum of the ranks.
    """
    pairs = [
        (map_.beta.double(), map_.gamma.double())
        if isinstance(map_, LowRank)
        else (map_.matrix().double(), torch.eye(map_.matrix().shape[1], dtype=torch.float64))
        for map_ in maps
    ]
    turned = [torch.linalg.qr(gamma.T) for _, gamma in pairs]
    stacked = torch.cat([beta @ r.T for (beta, _), (_, r) in zip(pairs, turned, strict=True)], dim=1)
    left, values, right = torch.linalg.svd(stacked, full_matrices=False)
    parts = right.split([q.shape[1] for q, _ in turned], dim=1)
    return left, values, [part @ q.T for part, (q, _) in zip(parts, turned, strict=True)]
