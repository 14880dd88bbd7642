"""A supernet: the full path is the network as it came, and every other one a smaller network with its weights."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tiny import MODELS, SIZE, card_of, distance, framed, same, state_of, whole_of
from torch import nn

from manyeyes.adapt.adapting import open_bank
from manyeyes.adapt.supernet.blocks import find_blocks
from manyeyes.adapt.supernet.space import Gene, PathSpace
from manyeyes.adapt.supernet.supernet import Supernet
from manyeyes.backbones.backbone import FINAL, Backbone
from manyeyes.backbones.nets.timm_net import TimmNet
from manyeyes.backbones.nets.whole import FEATURES, WholeNet
from manyeyes.backbones.timm_import import timm
from manyeyes.errors import AdaptError, CardError

# Residual, inverted-residual with squeeze-and-excite (padded in two ways), transformer, ConvNeXt.
FAMILIES = ("resnet", "dilated", "efficientnet", "efficientnet-same", "mobilenet", "convnext", "vit")


@pytest.fixture(autouse=True)
def mobilenet(monkeypatch):
    """Depthwise filters of 5×5 and squeeze-and-excite."""
    build = lambda: timm.create_model("mobilenetv3_small_050", pretrained=False, num_classes=0)  # noqa: E731
    monkeypatch.setitem(MODELS, "mobilenet", build)


def supernet_of(kind: str) -> Supernet:
    return Supernet(whole_of(kind).eval().requires_grad_(False), SIZE)


def features(supernet: Supernet, path) -> torch.Tensor:
    with supernet.on(path) as whole, torch.no_grad():
        return whole(framed())[FEATURES]


def some_paths(space: PathSpace, count: int = 4) -> list:
    random = np.random.default_rng(0)
    return [space.smallest, *(space.sample(random) for _ in range(count))]


# --- what a path sees


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_full_path_is_the_network_as_it_came_bit_for_bit(kind):
    supernet = supernet_of(kind)
    before, state = supernet.whole(framed())[FEATURES], state_of(supernet.whole)
    assert torch.equal(features(supernet, supernet.space.full), before)
    for path in some_paths(supernet.space):
        assert distance(features(supernet, path), before) > 0.001 or path == supernet.space.full
    assert torch.equal(supernet.whole(framed())[FEATURES], before)
    assert same(state_of(supernet.whole), state)
    assert same(supernet.extract(supernet.space.full).state_dict(), supernet.whole.network.state_dict())


@pytest.mark.parametrize("kind", FAMILIES)
def test_an_extracted_path_is_a_plain_network_that_sees_the_same(kind):
    supernet = supernet_of(kind)
    for path in some_paths(supernet.space):
        alone = WholeNet(supernet.extract(path), card_of().preprocessing).eval()
        assert distance(alone(framed())[FEATURES], features(supernet, path)) < 1e-5
        assert sum(one.numel() for one in alone.network.parameters()) == supernet.cost(path).parameters


@pytest.mark.parametrize("kind", FAMILIES)
def test_what_is_left_out_counts_as_nothing(kind):
    """The same by another way: the whole network, with zeros for what no layer takes any more."""
    supernet = supernet_of(kind)
    for path in some_paths(supernet.space):
        masked = copy.deepcopy(supernet.whole)
        change = supernet._change(path)
        for name in change.skipped:
            holder, _, place = name.rpartition(".")
            masked.network.get_submodule(holder)._modules[place] = nn.Identity()
        for name, cut in change.cuts.items():
            weight = masked.network.get_parameter(f"{name}.weight").data
            if cut.columns is not None:
                gone = torch.ones(weight.shape[1], dtype=torch.bool)
                gone[cut.columns] = False
                weight[:, gone] = 0
            if cut.kernel:
                edge = (weight.shape[2] - cut.kernel) // 2
                middle = weight[:, :, edge:-edge, edge:-edge].clone()
                weight.zero_()
                weight[:, :, edge:-edge, edge:-edge] = middle
        with torch.no_grad():
            assert distance(masked(framed())[FEATURES], features(supernet, path)) < 1e-4


def test_channels_that_count_most_are_kept():
    supernet = supernet_of("vit")
    block = supernet.blocks[0]
    taken = supernet.whole.network.get_parameter(f"{block.name}.mlp.fc2.weight").abs().sum(dim=0)
    path = tuple(len(gene.values) - 1 if gene.kind == "width" else 0 for gene in supernet.space.genes)
    kept = supernet._change(path).cuts[f"{block.name}.mlp.fc2"].columns
    assert len(kept) == len(taken) // 2
    assert taken[kept].min() == taken.sort(descending=True).values[len(kept) - 1]


def test_gradients_of_a_path_reach_its_weights_and_no_others():
    supernet = supernet_of("efficientnet")
    supernet.whole.requires_grad_(True)
    with supernet.on(supernet.space.smallest) as whole:
        whole(framed())[FEATURES].square().sum().backward()
    change = supernet._change(supernet.space.smallest)
    reached = 0
    for name, cut in change.cuts.items():
        gradient = supernet.whole.network.get_parameter(f"{name}.weight").grad
        assert gradient is not None
        if cut.rows is not None:
            gone = torch.ones(len(gradient), dtype=torch.bool)
            gone[cut.rows] = False
            assert not gradient[gone].any()
            reached += bool(gradient[cut.rows].any())
    assert reached > 0
    skipped = {name for name, one in supernet.whole.network.named_parameters() if one.grad is None}
    assert all(any(name.startswith(f"{block}.") for name in skipped) for block in change.skipped)


def test_a_path_ends_whatever_happens_on_it():
    supernet = supernet_of("resnet")
    state = state_of(supernet.whole)
    with pytest.raises(RuntimeError), supernet.on(supernet.space.smallest):
        raise RuntimeError
    assert same(state_of(supernet.whole), state)


# --- what it costs


@pytest.mark.parametrize("kind", FAMILIES)
def test_smaller_paths_cost_less(kind):
    supernet = supernet_of(kind)
    full, smallest = supernet.cost(supernet.space.full), supernet.cost(supernet.space.smallest)
    assert smallest.macs < full.macs and smallest.parameters < full.parameters
    for path in some_paths(supernet.space):
        assert smallest.macs <= supernet.cost(path).macs <= full.macs


def test_costs_are_those_of_a_known_network():
    """ResNet-18: 1.82 GMACs at 224 pixels, 11.18 million parameters without its head (timm's own table)."""
    card = dataclasses.replace(card_of("resnet18", 512), preprocessing=card_of().preprocessing.at(224))
    cost = Supernet(network_of(card), 224).cost((0,) * 13)
    assert cost.macs / 1e9 == pytest.approx(1.81, abs=0.01)
    assert cost.parameters == 11_176_512


def network_of(card) -> WholeNet:
    return WholeNet(TimmNet().build(card), card.preprocessing).eval()


# --- cards


@pytest.mark.parametrize("architecture", ["test_resnet", "test_efficientnet", "test_convnext"])
def test_a_path_becomes_a_local_backbone_that_can_be_made_smaller_again(architecture, tmp_path):
    dimension = {"test_resnet": 96, "test_efficientnet": 256, "test_convnext": 64}[architecture]
    card = dataclasses.replace(card_of(architecture, dimension), labels="imagenet-1k")
    torch.manual_seed(0)
    supernet = Supernet(network_of(card), SIZE)
    path = supernet.space.smallest
    made = supernet.write(path, card, tmp_path / "path")
    seen = Backbone.load(made).embed(framed().numpy()).blocks[FINAL]
    assert distance(torch.from_numpy(seen), features(supernet, path)) < 1e-5
    assert made.macs == supernet.cost(path).macs / 1e9
    assert made.labels is None

    bank, _ = open_bank(made)
    with torch.no_grad():
        assert distance(bank.eval().features(framed()), features(supernet, path)) < 1e-5


def test_weights_of_neither_size_are_one_line(tmp_path):
    supernet = Supernet(network_of(card_of()), SIZE)
    made = supernet.write(supernet.space.smallest, card_of(), tmp_path / "path")
    file = tmp_path / "path" / "weights.safetensors"
    state = load_file(file)
    name = next(key for key in state if key.endswith("conv2.weight"))
    for shape in ((1000, *state[name].shape[1:]), (3,)):
        save_file(state | {name: torch.zeros(shape)}, file)
        with pytest.raises(CardError, match="the weights do not fit test_resnet"):
            Backbone.load(dataclasses.replace(made, sha256=None, name=f"forged{len(shape)}"))


# --- the space


SPACE = PathSpace(
    (Gene("a", "keep", (1.0, 0.0)), Gene("a", "width", (1.0, 0.75, 0.5)), Gene("b", "kernel", (7.0, 5.0, 3.0)))
)


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), rate=st.floats(0, 1))
def test_paths_that_are_drawn_are_of_the_space(seed, rate):
    random = np.random.default_rng(seed)
    one, other = SPACE.sample(random), SPACE.sample(random)
    child, mutant = SPACE.cross(one, other, random), SPACE.mutate(one, random, rate)
    for path in (one, other, child, mutant):
        assert SPACE.check(path) == path
        assert SPACE.encode(path).sum() == len(SPACE.genes)
    assert all(gene in pair for gene, *pair in zip(child, one, other, strict=True))
    assert SPACE.mutate(one, random, 0.0) == one
    assert SPACE.sample(np.random.default_rng(seed)) == one


def test_what_is_no_path_is_told_of():
    for wrong in ((0, 0), (0, 0, 3), (-1, 0, 0)):
        with pytest.raises(AdaptError, match="no path of this network"):
            SPACE.check(wrong)
    assert SPACE.choices((1, 2, 1)) == {("a", "keep"): 0.0, ("a", "width"): 0.5, ("b", "kernel"): 5.0}
    assert (SPACE.full, SPACE.smallest) == ((0, 0, 0), (1, 2, 2))


def test_a_network_of_which_nothing_can_be_left_out_is_told_of():
    for kind in ("vgg", "grouped"):
        with pytest.raises(AdaptError, match="the network has no block that could be smaller"):
            supernet_of(kind)


def test_blocks_are_found_with_what_they_have_of_their_own():
    blocks = {block.name: block for block in find_blocks(whole_of("mobilenet").eval(), SIZE)}
    with_se = blocks["model.blocks.2.1"]
    assert with_se.skippable
    assert with_se.hidden[0].makers == ("model.blocks.2.1.conv_pw", "model.blocks.2.1.se.conv_expand")
    assert with_se.depthwise == ("model.blocks.2.1.conv_dw",)
    assert not blocks["model.blocks.2.0"].skippable
    assert all(not block.hidden for block in find_blocks(whole_of("grouped").eval(), SIZE))
