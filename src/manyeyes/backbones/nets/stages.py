"""The stages of a network: where its maps are read or weighed between the first layer and the last."""

from typing import Any

from torch import Tensor, nn

from manyeyes.backbones.second_order.layer import is_channels_first, positions

# Of a transformer, whose blocks all see the same positions: one after each quarter of its depth.
QUARTERS = 4


def find_stages(network: nn.Module) -> tuple[str, ...]:
    """The dotted names of the modules that end the stages, as timm tells them; none for networks that are not timm's.

    A stage that ends with a norm is left out: norms are a domain's own, and change places.
    """
    for name, module in network.named_modules():
        info: Any = getattr(module, "feature_info", None)
        if info is None:
            continue
        entries = list(info) if isinstance(info, list) else list(info.info)
        if len(entries) > QUARTERS and len({one["reduction"] for one in entries}) == 1:
            entries = [entries[max(round(len(entries) * part / QUARTERS), 1) - 1] for part in range(1, QUARTERS + 1)]
        names = [f"{name}.{one['module']}".lstrip(".") for one in entries]
        return tuple(one for one in names if not is_norm(network.get_submodule(one)))
    return ()


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
