"""A network with less in it than its architecture has: layers that are cut, blocks that are left out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

# What timm calls modules that may be behind an earlier stage, at which a network ends.
LAST = ("layer2", "layer3", "layer4", "conv_head", "bn2", "norm_head", "norm")


@dataclass
class Cut:
    """What is left of a layer: rows (outputs) and columns (inputs) of its weight by their numbers, None for all; and
    the side of its filters, 0 for as it is."""

    rows: Tensor | None = None
    columns: Tensor | None = None
    kernel: int = 0


class Skipped(nn.Module):
    """In the place of a block that is left out."""

    def forward(self, x: Tensor, *others: Any, **named: Any) -> Tensor:
        return x


def tensors_left(layer: nn.Module, cut: Cut) -> dict[str, Tensor]:
    """Its tensors as they are cut; gradients of these reach the whole ones."""
    tensors = {**layer._parameters, **layer._buffers}
    left: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        if tensor is None or tensor.ndim == 0:
            continue
        if cut.rows is not None:
            tensor = tensor.index_select(0, cut.rows)
        if key == "weight" and cut.columns is not None:
            tensor = tensor.index_select(1, cut.columns)
        if key == "weight" and cut.kernel:
            edge = (tensor.shape[2] - cut.kernel) // 2
            tensor = tensor[:, :, edge : edge + cut.kernel, edge : edge + cut.kernel]
        left[key] = tensor
    return left


def attributes_left(layer: nn.Module, cut: Cut) -> dict[str, Any]:
    """What else it must know of itself."""
    attributes: dict[str, Any] = {}
    if isinstance(layer, nn.Conv2d):
        if cut.rows is not None:
            attributes["out_channels"] = len(cut.rows)
            if layer.groups > 1:  # depthwise
                attributes |= {"groups": len(cut.rows), "in_channels": len(cut.rows)}
        if cut.columns is not None:
            attributes["in_channels"] = len(cut.columns)
        if cut.kernel:
            attributes["kernel_size"] = (cut.kernel, cut.kernel)
            if not isinstance(layer.padding, str):
                less = (layer.kernel_size[0] - cut.kernel) // 2
                attributes["padding"] = tuple(
                    max(pad - less * step, 0) for pad, step in zip(layer.padding, layer.dilation, strict=True)
                )
    elif isinstance(layer, nn.Linear):
        if cut.rows is not None:
            attributes["out_features"] = len(cut.rows)
        if cut.columns is not None:
            attributes["in_features"] = len(cut.columns)
    elif cut.rows is not None:
        attributes["num_features"] = len(cut.rows)
    return attributes


def put_cut(layer: nn.Module, cut: Cut) -> None:
    """Leave of a layer what a cut leaves, for good."""
    attributes = attributes_left(layer, cut)
    for key, tensor in tensors_left(layer, cut).items():
        own = tensor.detach().clone()
        if (parameter := layer._parameters.get(key)) is not None:
            layer._parameters[key] = nn.Parameter(own, requires_grad=parameter.requires_grad)
        else:
            layer._buffers[key] = own
    for key, value in attributes.items():
        setattr(layer, key, value)


def shrink_to(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Make a network, whose weights are still to be filled in, as small as that whose state this is.

    What it cannot be made to fit stays as it is, and is told of when the state is loaded.
    """
    for holder, module in list(network.named_modules()):
        for place, one in list(module.named_children()):
            keys = [f"{holder}.{place}.{key}".lstrip(".") for key in one.state_dict()]
            if (
                keys
                and can_do_without(module, f"{holder}.{place}".lstrip("."))
                and not any(key in state for key in keys)
            ):
                module._modules[place] = Skipped()
    for name, module in network.named_modules():
        weight, wanted = getattr(module, "weight", None), state.get(f"{name}.weight")
        if isinstance(weight, Tensor) and wanted is not None and _is_smaller(wanted.shape, weight.shape):
            put_cut(module, _cut_to(weight.shape, wanted.shape))


def can_do_without(holder: nn.Module, name: str) -> bool:
    """Whether a module of that name may be left out of its holder: one of several in a row, or of the last ones of the
    model or its head."""
    above, _, place = name.rpartition(".")
    if isinstance(holder, nn.Sequential | nn.ModuleList):
        return True
    return place in LAST and above.rpartition(".")[2] in ("", "model", "head")


def _is_smaller(wanted: torch.Size, there: torch.Size) -> bool:
    return wanted != there and len(wanted) == len(there) and all(0 < a <= b for a, b in zip(wanted, there, strict=True))


def _cut_to(there: torch.Size, wanted: torch.Size) -> Cut:
    """Any cut that leaves this shape."""
    rows = torch.arange(wanted[0]) if wanted[0] < there[0] else None
    columns = torch.arange(wanted[1]) if len(wanted) > 1 and wanted[1] < there[1] else None
    return Cut(rows, columns, wanted[2] if len(wanted) > 2 and wanted[2] < there[2] else 0)
