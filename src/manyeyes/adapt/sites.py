"""Where a network can be adapted: its convolutions and linear layers, in the order in which a photo passes them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

import torch
from torch import Tensor, nn

from manyeyes.adapt.adapters import Layer
from manyeyes.backbones.nets.stages import is_norm
from manyeyes.backbones.nets.whole import FEATURES, WholeNet
from manyeyes.errors import AdaptError

Stage = Literal["early", "mid", "late"]
STAGES: tuple[Stage, ...] = ("early", "mid", "late")


class Kind(StrEnum):
    """What decides which adapter a layer can have."""

    SPATIAL = "spatial"  # odd filters of 3×3 or more that mix channels
    DEPTHWISE = "depthwise"  # odd filters of 3×3 or more, each for one channel
    POINTWISE = "pointwise"  # 1×1 convolutions and linear layers
    PATCHES = "patches"  # even filters, without a centre


@dataclass(frozen=True)
class Site:
    """A layer, by its dotted name in the network; ``stage`` is the third of the network's depth in which it lies."""

    name: str
    kind: Kind
    stage: Stage
    layer: Layer

    @property
    def into(self) -> int:
        """C_out."""
        return self.layer.weight.shape[0]

    @property
    def out_of(self) -> int:
        """C_in."""
        return self.layer.in_channels if isinstance(self.layer, nn.Conv2d) else self.layer.in_features

    @property
    def groups(self) -> int:
        return self.layer.groups if isinstance(self.layer, nn.Conv2d) else 1

    @property
    def is_last(self) -> bool:
        """Whether the channels are the last axis of what the layer is given."""
        return isinstance(self.layer, nn.Linear)


def find_sites(whole: WholeNet, size: int) -> tuple[Site, ...]:
    """Every place of the network that can be adapted, found by a dry run on a photo of ``size`` pixels.

    Only layers whose output reaches the features count: not the source head, nor one whose weights are used without
    calling it, where an adapter would silently do nothing. Nor do layers that look at numbers already pooled over the
    photo. Stages are thirds of the depth; in the paper's ResNet-26 they are its three stages, the stem among the early.
    Raises AdaptError when the network cannot look at photos of that size, or nothing of it can be adapted.
    """
    passed = _layers_passed(whole, size)
    found = [(name, layer, kind) for name, layer in passed.items() if (kind := _kind(layer)) is not None]
    if not found:
        raise AdaptError("the network has no layer that could be adapted")
    third = len(found) // 3
    early = len(found) - 2 * third
    return tuple(
        Site(name, kind, STAGES[0 if index < early else 1 + (index - early) // third], layer)
        for index, (name, layer, kind) in enumerate(found)
    )


def norms_of(network: nn.Module) -> dict[str, nn.Module]:
    """The network's normalising layers that have something of their own to learn or to remember, by dotted name."""
    return {name: module for name, module in network.named_modules() if is_norm(module) and module.state_dict()}


def body_of(whole: WholeNet, size: int) -> dict[str, nn.Parameter]:
    """The parameters that the features of a photo of ``size`` pixels depend on, less those of the norms, by name.

    Not those that a network looks at through a copy that it keeps (timm's tables of attention biases): a domain's would
    stay without effect.
    """
    norms = {id(one) for norm in norms_of(whole.network).values() for one in norm.parameters()}
    parameters = dict(whole.network.named_parameters())
    frozen = [one for one in parameters.values() if not one.requires_grad]
    for one in frozen:
        one.requires_grad_(True)
    with torch.enable_grad():
        features = whole(torch.zeros(1, size, size, 3, dtype=torch.uint8, device=whole.scale.device))[FEATURES]
        found = torch.autograd.grad(features.sum(), list(parameters.values()), allow_unused=True)
    for one in frozen:
        one.requires_grad_(False)
    return {
        name: one
        for (name, one), gradient in zip(parameters.items(), found, strict=True)
        if gradient is not None and id(one) not in norms
    }


def _layers_passed(whole: WholeNet, size: int) -> dict[str, Layer]:
    """Layers that are called, in the order in which they first are, less those that see pooled numbers."""
    places: dict[str, tuple[Layer, int]] = {}

    def listen(name: str) -> Any:
        def note(layer: Layer, given: tuple[Tensor], made: Tensor) -> None:
            count = made.shape[2:].numel() if isinstance(layer, nn.Conv2d) else made.shape[1:-1].numel()
            places.setdefault(name, (layer, 0 if made.ndim == 2 else count))

        return note

    handles = [
        module.register_forward_hook(listen(name))
        for name, module in whole.network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    try:
        with torch.no_grad():
            whole(torch.zeros(1, size, size, 3, dtype=torch.uint8))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise AdaptError(
            f"the network cannot look at photos of {size} pixels: {' '.join(str(error).split())}"
        ) from None
    finally:
        for handle in handles:
            handle.remove()
    passed: dict[str, Layer] = {}
    most = 0
    for name, (layer, count) in reversed(places.items()):
        most = max(most, count)
        # A layer with one place before one with many weighs channels (squeeze-and-excite).
        if count > 1 or count == most > 0:
            passed[name] = layer
    return dict(reversed(passed.items()))


def _kind(layer: Layer) -> Kind | None:
    if isinstance(layer, nn.Linear):
        return Kind.POINTWISE
    is_odd = all(size % 2 for size in layer.kernel_size)
    if layer.padding_mode != "zeros":
        return None
    if max(layer.kernel_size) == 1:
        return Kind.POINTWISE if layer.groups == 1 else None
    if is_odd and layer.groups == layer.in_channels == layer.out_channels and layer.groups > 1:
        return Kind.DEPTHWISE
    if is_odd:
        return Kind.SPATIAL
    return Kind.PATCHES if layer.groups == 1 and type(layer) is nn.Conv2d else None
