"""The stages of a network: where its maps are read or weighed between the first layer and the last."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from manyeyes.backbones.nets.whole import WholeNet
from manyeyes.backbones.second_order.layer import is_channels_first, positions

# Of a transformer, whose blocks all see the same positions: one after each quarter of its depth.
QUARTERS = 4


@torch.no_grad()
def find_stages(whole: WholeNet, size: int) -> dict[str, int]:
    """The modules that end the stages, as timm tells them, by dotted name, with the channels of what they give.

    Nothing for a network of which timm does not tell, or tells something else than maps or tokens.
    """
    network = whole.network
    names = _told(network)
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str, made: Any) -> None:
        if isinstance(made, Tensor) and made.ndim in (3, 4):
            shapes[name] = pooled(made, network).shape

    handles = [
        network.get_submodule(name).register_forward_hook(lambda _, __, made, name=name: note(name, made))
        for name in names
    ]
    whole(torch.zeros(1, size, size, 3, dtype=torch.uint8, device=whole.scale.device))
    for handle in handles:
        handle.remove()
    return {name: shapes[name][1] for name in names} if shapes.keys() == set(names) else {}


def _told(network: nn.Module) -> list[str]:
    """The last module of each stage."""
    modules = dict(network.named_modules())
    for name, module in modules.items():
        info: Any = getattr(module, "feature_info", None)
        if info is None:
            continue
        entries = list(info) if isinstance(info, list) else list(info.info)
        if len({one["reduction"] for one in entries}) == 1:
            parts = [entries[max(round(len(entries) * part / QUARTERS), 1) - 1] for part in range(1, QUARTERS + 1)]
        else:  # of those with maps of the same size, the last
            parts = list({one["reduction"]: one for one in entries}.values())
        names = [_before_norm(modules, f"{name}.{one['module']}".lstrip(".")) for one in parts]
        return list(dict.fromkeys(names)) if all(one in modules for one in names) else []
    return []


def _before_norm(modules: Mapping[str, nn.Module], name: str) -> str:
    """The module before it, when it is a norm: norms are a domain's own, and change places."""
    holder, _, place = name.rpartition(".")
    if name not in modules or not is_norm(modules[name]):
        return name
    places = [one for one, _ in modules[holder].named_children()]
    before = places[: places.index(place)]
    return f"{holder}.{before[-1]}".lstrip(".") if before else name


def is_norm(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.batchnorm._BatchNorm | nn.LayerNorm | nn.GroupNorm)


def pooled(output: Tensor, network: nn.Module) -> Tensor:
    """A stage's output as the mean over its positions: (B, channels). Class tokens and registers have no part in it."""
    return positions(output, network).mean(dim=2)


def weighed(output: Tensor, weights: Tensor) -> Tensor:
    """A stage's output with its channels weighed by (B, channels)."""
    if output.ndim == 3:  # tokens
        return output * weights[:, None]
    return output * (weights[:, :, None, None] if is_channels_first(output.shape) else weights[:, None, None])
