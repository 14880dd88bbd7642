"""The blocks of a network that could be smaller, and what within each could be left out.

Known are timm's families of blocks: residual (ResNet), inverted residual (EfficientNet, MobileNet), transformers' (ViT)
and ConvNeXt's. A block of another kind stays as it is.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from manyeyes.adapt.bank import DomainBank
from manyeyes.backbones.nets.smaller import can_do_without

Names = tuple[str, ...]


@dataclass(frozen=True)
class Hidden:
    """Channels that only one block knows of. makers : layers that give them. along : layers that treat each by itself
    (norms, depthwise convolutions). takers : layers that are given them. By dotted names, within the block at first."""

    makers: Names
    along: Names
    takers: Names

    def within(self, block: str) -> "Hidden":
        """The same by names within the network."""
        return Hidden(*(tuple(f"{block}.{name}" for name in names) for names in (self.makers, self.along, self.takers)))


# By the class of a block. What a network's block lacks of these (squeeze-and-excite, mostly) is left out.
HIDDEN: dict[str, tuple[Hidden, ...]] = {
    "BasicBlock": (Hidden(("conv1",), ("bn1",), ("conv2",)),),
    "Bottleneck": (Hidden(("conv1",), ("bn1",), ("conv2",)), Hidden(("conv2",), ("bn2",), ("conv3",))),
    "InvertedResidual": (
        Hidden(("conv_pw", "se.conv_expand"), ("bn1", "conv_dw", "bn2"), ("se.conv_reduce", "conv_pwl")),
    ),
    "UniversalInvertedResidual": (
        Hidden(
            ("pw_exp.conv", "se.conv_expand"),
            ("pw_exp.bn", "dw_mid.conv", "dw_mid.bn"),
            ("se.conv_reduce", "pw_proj.conv"),
        ),
    ),
    "EdgeResidual": (Hidden(("conv_exp", "se.conv_expand"), ("bn1",), ("se.conv_reduce", "conv_pwl")),),
    "DepthwiseSeparableConv": (),
    "Block": (Hidden(("mlp.fc1",), (), ("mlp.fc2",)),),
    "ConvNeXtBlock": (Hidden(("mlp.fc1",), (), ("mlp.fc2",)),),
}


@dataclass(frozen=True)
class Block:
    """name : of the module. skippable : whether it can be left out, which is where what it gives has the shape of what
    it is given, but for the first block of each stage. hidden : its own channels. depthwise : convolutions of one
    filter a channel whose filters could be smaller, and kernel : the side of the largest of these; 0 for none."""

    name: str
    skippable: bool
    hidden: tuple[Hidden, ...]
    depthwise: Names
    kernel: int


def find_blocks(bank: DomainBank) -> tuple[Block, ...]:
    """The blocks of known kinds in a bank's backbone, in the order in which a photo passes them."""
    network = bank.network
    shapes: dict[str, tuple[torch.Size, torch.Size]] = {}
    first = [0]

    def note(name: str, given: tuple[Tensor, ...], made: Tensor) -> None:
        if isinstance(given[0], Tensor) and isinstance(made, Tensor):
            shapes[name] = given[0].shape, made.shape

    handles = [
        module.register_forward_hook(lambda _, given, made, name=name: note(name, given, made))
        for name, module in network.named_modules()
        if type(module).__name__ in HIDDEN
    ]
    handles += [
        network.get_submodule(stage).register_forward_hook(lambda *_: first.append(len(shapes)))
        for stage in bank.stages
    ]
    try:
        with torch.no_grad():
            bank.features(bank.blank())
    finally:
        for handle in handles:
            handle.remove()
    return tuple(
        _block(network, name, before == after and number not in first and can_do_without(_holder(network, name), name))
        for number, (name, (before, after)) in enumerate(shapes.items())
    )


def _block(network: nn.Module, name: str, skippable: bool) -> Block:
    depthwise = _depthwise(network, name)
    kernel = max((network.get_parameter(f"{one}.weight").shape[2] for one in depthwise), default=0)
    return Block(name, skippable, _hidden(network, name), depthwise, kernel)


def _holder(network: nn.Module, name: str) -> nn.Module:
    return network.get_submodule(name.rpartition(".")[0])


def _hidden(network: nn.Module, block: str) -> tuple[Hidden, ...]:
    module = network.get_submodule(block)
    modules = dict(module.named_modules())
    known = HIDDEN[type(module).__name__]
    # Attention over channels of any other kind would have to be cut as well.
    if not isinstance(modules.get("se", nn.Identity()), nn.Identity) and "se.conv_expand" not in modules:
        return ()
    if any(isinstance(one, nn.Conv2d) and 1 < one.groups < one.out_channels for one in modules.values()):
        return ()
    there = [
        Hidden(*(tuple(name for name in names if name in modules) for names in (one.makers, one.along, one.takers)))
        for one in known
    ]
    return tuple(
        one.within(block)
        for one in there
        if one.makers and one.takers and all(isinstance(modules[name], nn.Conv2d | nn.Linear) for name in one.takers)
    )


def _depthwise(network: nn.Module, block: str) -> Names:
    return tuple(
        f"{block}.{name}"
        for name, one in network.get_submodule(block).named_modules()
        if isinstance(one, nn.Conv2d) and one.groups == one.out_channels == one.in_channels > 1 and _can_shrink(one)
    )


def _can_shrink(layer: nn.Conv2d) -> bool:
    """Odd square filters of 5×5 or more, padded so that less of them sees the same pixels."""
    side, other = layer.kernel_size
    is_same = isinstance(layer.padding, str) or type(layer).__name__ == "Conv2dSame"
    return (
        side == other
        and side >= 5
        and side % 2 == 1
        and (is_same or layer.padding == tuple(side // 2 * step for step in layer.dilation))
    )
