"""Where the second-order tap reads a network: by one rule, whatever the network."""

from typing import Any

import torch
from torch import Tensor, nn

from manyeyes.errors import CardError

# Maps of this stride (pixels of the photo to one position) or more are too coarse: 7 × 7 positions fill no matrix.
COARSE = 24
# A vision transformer is read after three quarters of its blocks, where a convolutional net has its penultimate stage.
DEPTH = 0.75


def choose_layer(network: nn.Module, size: int, name: str) -> str:
    """The name of the module whose output is tapped, for photos of ``size`` × ``size``; errors call the net ``name``.

    In a vision transformer, the block at three quarters of its depth. In all other nets the deepest of the widest maps
    of the penultimate stage, which is the coarsest one of less than stride 24: the last stage of residual blocks in a
    ResNet, the expansion that opens the last stage in an EfficientNet or MobileNetV2. Raises CardError when there is
    neither.
    """
    if block := _transformer_block(network):
        return block
    maps = _maps(network, size)
    fine = [(layer, shape) for layer, shape in maps if size / shape[1] < COARSE]
    if not fine:
        raise CardError(f"{name} has no map of positions that is fine enough for the second-order tap")
    side = min(shape[1] for _, shape in fine)
    stage = [(layer, shape[0]) for layer, shape in fine if shape[1] == side]
    width = max(channels for _, channels in stage)
    return [layer for layer, channels in stage if channels == width][-1]


def positions(output: Tensor, network: nn.Module) -> Tensor:
    """A layer's output as what it says at each position: (B, channels, positions)."""
    if output.ndim == 3:
        return output[:, _prefix_tokens(network) :].transpose(1, 2)
    if not is_channels_first(output.shape):
        output = output.permute(0, 3, 1, 2)
    return output.flatten(2)


def _transformer_block(network: nn.Module) -> str | None:
    for name, module in network.named_modules():
        blocks = getattr(module, "blocks", None)
        if hasattr(module, "num_prefix_tokens") and isinstance(blocks, nn.Sequential | nn.ModuleList):
            return f"{name}.blocks.{max(round(DEPTH * len(blocks)), 1) - 1}".lstrip(".")
    return None


def _prefix_tokens(network: nn.Module) -> int:
    """How many tokens (class, registers) stand before those of the positions."""
    return next((int(m.num_prefix_tokens) for m in network.modules() if hasattr(m, "num_prefix_tokens")), 0)  # type: ignore[arg-type]


def _maps(network: nn.Module, size: int) -> list[tuple[str, tuple[int, int]]]:
    """Every module that gives a square map, in the order of a forward pass: (name, (channels, side))."""
    found: list[tuple[str, tuple[int, int]]] = []

    def note(name: str) -> Any:
        def hook(module: nn.Module, given: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim == 4 and output.shape[1] > 1 and output.shape[2] > 1:
                first = is_channels_first(output.shape)
                found.append((name, (output.shape[1 if first else 3], output.shape[2])))

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in network.named_modules() if name]
    try:
        parameter = next(network.parameters())
        with torch.inference_mode():
            output = network(torch.zeros(1, 3, size, size, dtype=parameter.dtype, device=parameter.device))
    finally:
        for handle in handles:
            handle.remove()
    # A fully convolutional net (SqueezeNet) gives its source labels' logits at every position: that is its head.
    logits = output[1] if isinstance(output, tuple) else None
    return [(name, shape) for name, shape in found if logits is None or shape[0] != logits.shape[1]]


def is_channels_first(shape: torch.Size) -> bool:
    return shape[2] == shape[3]
