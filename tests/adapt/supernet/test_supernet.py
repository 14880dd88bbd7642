"""A supernet: the full path is the network as it came, and every other one a smaller network with its weights."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tiny import MODELS, SIZE, bank_of, card_of, distance, framed, same, shaken, state_of
from torch import nn
from torch.nn.functional import interpolate

from manyeyes.adapt.adapting import open_bank
from manyeyes.adapt.bank import DomainBank
from manyeyes.adapt.fold import write_backbone
from manyeyes.adapt.gated_transfer import plan_of
from manyeyes.adapt.plan import Plan
from manyeyes.adapt.supernet.blocks import find_blocks
from manyeyes.adapt.supernet.space import Gene, PathSpace
from manyeyes.adapt.supernet.supernet import Supernet
from manyeyes.backbones.backbone import FINAL, Backbone
from manyeyes.backbones.card import Card
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
    return Supernet(bank_of(kind))


def features(supernet: Supernet, path) -> torch.Tensor:
    with supernet.on(path) as bank, torch.no_grad():
        return bank.features(framed())


def some_paths(space: PathSpace, count: int = 4) -> list:
    random = np.random.default_rng(0)
    return [space.smallest, space.thinnest, *(space.sample(random) for _ in range(count))]


def seen_by(network: nn.Module, photos: torch.Tensor) -> torch.Tensor:
    return WholeNet(network, card_of().preprocessing).eval()(photos)[FEATURES]


# --- what a path sees


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_full_path_is_the_network_as_it_came_bit_for_bit(kind):
    supernet = supernet_of(kind)
    bank, full = supernet.bank, supernet.space.full
    before, state = bank.features(framed()), state_of(bank)
    assert torch.equal(features(supernet, full), before)
    for path in some_paths(supernet.space):
        seen = features(supernet, path)
        assert path == full or seen.shape != before.shape or distance(seen, before) > 0.001
    assert torch.equal(bank.features(framed()), before)
    assert same(state_of(bank), state)
    assert same(supernet.extract(full).state_dict(), bank.network.state_dict())


@pytest.mark.parametrize("kind", FAMILIES)
def test_an_extracted_path_is_a_plain_network_that_sees_the_same(kind):
    supernet = supernet_of(kind)
    for path in some_paths(supernet.space):
        network = supernet.extract(path)
        seen = seen_by(network, framed())
        assert seen.shape == (3, supernet.dimension(path))
        assert distance(seen, features(supernet, path)) < 1e-5
        assert sum(one.numel() for one in network.parameters()) == supernet.cost(path).parameters
        assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize("kind", FAMILIES)
def test_what_is_left_out_counts_as_nothing(kind):
    """The same by another way: the whole network, with zeros for what no layer takes any more."""
    supernet = supernet_of(kind)
    for path in some_paths(supernet.space):
        masked = supernet.extract(supernet.space.full)
        change = supernet._change(path)
        for name in change.skipped:
            holder, _, place = name.rpartition(".")
            masked.get_submodule(holder)._modules[place] = nn.Identity()
        for name, cut in change.cuts.items():
            weight = masked.get_parameter(f"{name}.weight").data
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
            assert distance(seen_by(masked, framed()), features(supernet, path)) < 1e-4


@pytest.mark.parametrize("kind", ["resnet", "efficientnet", "vit"])
@pytest.mark.parametrize("method", ["parallel", "lowrank"])
def test_adapters_become_smaller_with_their_layers(kind, method):
    bank = bank_of(kind, one=Plan(method, ranks=(4, 4, 4)))
    shaken(bank["one"])
    supernet = Supernet(bank, "one")
    ranks = {gene.block: gene.values for gene in supernet.space.genes if gene.kind == "rank"}
    assert ranks and set(ranks.values()) == {(4.0, 2.0, 0.0)}
    before, state = bank.switch("one").features(framed()), state_of(bank)
    plain = Supernet(bank_of(kind))
    assert supernet.cost(supernet.space.full) == plain.cost(plain.space.full)  # adapters are folded in
    assert torch.equal(features(supernet, supernet.space.full), before)
    for path in some_paths(supernet.space):
        assert distance(seen_by(supernet.extract(path), framed()), features(supernet, path)) < 1e-5
    assert same(state_of(bank), state)


def test_adapters_of_rank_zero_are_as_none():
    bank = bank_of("vit", one=Plan("lowrank", ranks=(4, 4, 4)))
    shaken(bank["one"], by=0.5)
    supernet = Supernet(bank, "one")
    no_rank = tuple(2 if gene.kind == "rank" else 0 for gene in supernet.space.genes)
    with_rank = features(supernet, supernet.space.full)
    for adapter in bank["one"].adapters.values():
        adapter.map.beta.data.zero_()
    without = features(supernet, supernet.space.full)
    assert distance(features(supernet, no_rank), without) == 0 < distance(with_rank, without)


def test_a_path_looks_at_smaller_photos():
    bank = DomainBank(network_of(sized(64)), 64).eval()
    supernet = Supernet(bank)
    assert supernet.space.genes[-1] == Gene("", "size", (64.0, 48.0))
    small = tuple(1 if gene.kind == "size" else 0 for gene in supernet.space.genes)
    photos = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    with supernet.on(small), torch.no_grad():
        seen = bank.features(photos)
    resized = interpolate(photos.permute(0, 3, 1, 2).float(), (48, 48), mode="bilinear", antialias=True)
    assert distance(seen_by(supernet.extract(small), resized.permute(0, 2, 3, 1)), seen) < 1e-4
    assert supernet.size(small) == supernet.card_of(small, card_of()).preprocessing.size == 48
    assert supernet.cost(small).macs == pytest.approx(supernet.cost(supernet.space.full).macs * (48 / 64) ** 2, rel=0.1)
    # A transformer knows one size.
    assert not any(gene.kind == "size" for gene in supernet_of("vit").space.genes)


def test_a_path_may_end_early():
    supernet = Supernet(bank_of("resnet", one=Plan("full")), "one")
    assert [(one.stage, one.dimension) for one in supernet.exits] == [("model.layer3", 192), ("model.layer2", 48)]
    assert supernet.exits[1].skipped == ("model.layer3", "model.layer4")
    whole, third, second = supernet.ways_out()
    assert [supernet.dimension(path) for path in (whole, third, second)] == [supernet.bank.dimension, 192, 48]
    head = supernet.bank["one"].head
    with supernet.on(third) as bank, torch.no_grad():
        assert bank["one"].head is supernet.head(third) is supernet.heads["1"]
        assert bank(framed()).shape == (3, 3)
    assert supernet.bank["one"].head is head is supernet.head(whole)
    with pytest.raises(RuntimeError), supernet.on(third):
        raise RuntimeError
    assert supernet.bank["one"].head is head


def test_channels_that_count_most_are_kept():
    supernet = supernet_of("vit")
    block = supernet.blocks[0]
    taken = supernet.bank.network.get_parameter(f"{block.name}.mlp.fc2.weight").abs().sum(dim=0)
    path = tuple(len(gene.values) - 1 if gene.kind == "width" else 0 for gene in supernet.space.genes)
    kept = supernet._change(path).cuts[f"{block.name}.mlp.fc2"].columns
    assert len(kept) == len(taken) // 2
    assert taken[kept].min() == taken.sort(descending=True).values[len(kept) - 1]


def test_gradients_of_a_path_reach_its_weights_and_no_others():
    supernet = supernet_of("efficientnet")
    supernet.bank.requires_grad_(True)
    network, path = supernet.bank.network, supernet.space.thinnest
    with supernet.on(path) as bank:
        bank.features(framed()).square().sum().backward()
    change = supernet._change(path)
    reached = 0
    for name, cut in change.cuts.items():
        gradient = network.get_parameter(f"{name}.weight").grad
        assert gradient is not None
        if cut.rows is not None:
            gone = torch.ones(len(gradient), dtype=torch.bool)
            gone[cut.rows] = False
            assert not gradient[gone].any()
            reached += bool(gradient[cut.rows].any())
    assert reached > 0
    skipped = {name for name, one in network.named_parameters() if one.grad is None}
    assert all(any(name.startswith(f"{block}.") for name in skipped) for block in change.skipped)


def test_a_path_ends_whatever_happens_on_it():
    supernet = supernet_of("resnet")
    state = state_of(supernet.bank)
    with pytest.raises(RuntimeError), supernet.on(supernet.space.smallest):
        raise RuntimeError
    assert same(state_of(supernet.bank), state)


def test_on_a_path_no_other_domain_can_be_used():
    supernet = Supernet(bank_of("efficientnet", one=Plan("full"), two=Plan("full")), "one")
    bank, state = supernet.bank, state_of(supernet.bank)
    with supernet.on(supernet.space.thinnest):
        before = bank.features(framed())
        for use in (lambda: bank.switch("two"), lambda: bank(framed(), "two"), lambda: bank.using(None).__enter__()):
            with pytest.raises(AdaptError, match="the network is on a path of one"):
                use()
        assert torch.equal(bank.features(framed()), before)
    assert same(state_of(bank), state) and bank.switch("two").active == "two"


@pytest.mark.parametrize("words", ["gated", "series"])
def test_gates_and_series_adapters_are_refused(words):
    bank = bank_of("efficientnet", one=plan_of(words))
    with pytest.raises(AdaptError, match="fit one path only"):
        Supernet(bank, "one")


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
    card = dataclasses.replace(sized(224, "resnet18", 512), labels="imagenet-1k")
    supernet = Supernet(DomainBank(network_of(card), 224))
    cost = supernet.cost(supernet.space.full)
    assert cost.macs / 1e9 == pytest.approx(1.81, abs=0.01)
    assert cost.parameters == 11_176_512
    assert 0 < supernet.seconds(supernet.space.smallest) < 60


def sized(size: int, *architecture) -> Card:
    card = card_of(*architecture)
    return dataclasses.replace(card, preprocessing=card.preprocessing.at(size))


def network_of(card) -> WholeNet:
    return WholeNet(TimmNet().build(card), card.preprocessing).eval()


# --- cards


@pytest.mark.parametrize("architecture", ["convnextv2_atto", "mobilenetv4_conv_small", "pvt_v2_b0"])
def test_networks_that_hold_more_than_their_kind_are_made_smaller_where_they_can_be(architecture, tmp_path):
    card = sized(64, architecture, 1)
    supernet = Supernet(DomainBank(network_of(card), 64))
    costs = []
    for path in {supernet.space.smallest, supernet.space.thinnest}:
        folder = tmp_path / f"path{len(costs)}"
        made = write_backbone(supernet.extract(path).state_dict(), supernet.card_of(path, card), folder)
        photos = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
        if supernet.size(path) == 64:
            seen = Backbone.load(made).embed(photos.numpy()).blocks[FINAL]
            with supernet.on(path) as bank, torch.no_grad():
                assert distance(torch.from_numpy(seen), bank.features(photos)) < 1e-4
        costs.append(supernet.cost(path).macs)
    assert min(costs) < supernet.cost(supernet.space.full).macs
    assert all(one.skipped for one in supernet.exits)


@pytest.mark.parametrize("architecture", ["test_resnet", "test_efficientnet", "test_convnext"])
def test_a_path_becomes_a_local_backbone_that_can_be_made_smaller_again(architecture, tmp_path):
    dimension = {"test_resnet": 96, "test_efficientnet": 256, "test_convnext": 64}[architecture]
    card = dataclasses.replace(card_of(architecture, dimension), labels="imagenet-1k")
    torch.manual_seed(0)
    supernet = Supernet(DomainBank(network_of(card), SIZE))
    for path in (supernet.space.smallest, supernet.space.thinnest):
        folder = tmp_path / str(supernet.dimension(path))
        made = write_backbone(supernet.extract(path).state_dict(), supernet.card_of(path, card), folder)
        seen = Backbone.load(made).embed(framed().numpy()).blocks[FINAL]
        assert distance(torch.from_numpy(seen), features(supernet, path)) < 1e-5
        assert made.macs == supernet.cost(path).macs / 1e9
        assert made.labels is None

        bank, _ = open_bank(made)
        with torch.no_grad():
            assert distance(bank.eval().features(framed()), features(supernet, path)) < 1e-5


def test_weights_of_neither_size_are_one_line(tmp_path):
    supernet = Supernet(DomainBank(network_of(card_of()), SIZE))
    path = supernet.space.thinnest
    made = write_backbone(supernet.extract(path).state_dict(), supernet.card_of(path, card_of()), tmp_path / "path")
    file = tmp_path / "path" / "weights.safetensors"
    state = load_file(file)
    name = next(key for key in state if key.endswith("conv2.weight"))
    for shape in ((1000, *state[name].shape[1:]), (3,)):
        save_file(state | {name: torch.zeros(shape)}, file)
        with pytest.raises(CardError, match="the weights do not fit test_resnet"):
            Backbone.load(dataclasses.replace(made, sha256=None, name=f"forged{len(shape)}"))


# --- the space


SPACE = PathSpace(
    (
        Gene("a", "keep", (1.0, 0.0)),
        Gene("a", "width", (1.0, 0.75, 0.5)),
        Gene("b", "kernel", (7.0, 5.0, 3.0)),
        Gene("", "exit", (0.0, 1.0)),
    ),
    {1.0: frozenset({"b"})},
)


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), rate=st.floats(0, 1))
def test_paths_that_are_drawn_are_of_the_space(seed, rate):
    random = np.random.default_rng(seed)
    one, other = SPACE.sample(random), SPACE.sample(random)
    for path in (one, other, SPACE.mutate(one, random, rate)):
        assert SPACE.check(path) == SPACE.settled(path) == path
        assert SPACE.encode(path).sum() == len(SPACE.genes)
    assert SPACE.mutate(one, random, 0.0) == one
    assert SPACE.sample(np.random.default_rng(seed)) == one


def test_paths_of_all_sizes_are_drawn():
    supernet = supernet_of("convnext")
    random = np.random.default_rng(0)
    least, most = (supernet.cost(path).macs for path in (supernet.space.thinnest, supernet.space.full))
    shares = [(supernet.cost(supernet.space.sample(random)).macs - least) / (most - least) for _ in range(120)]
    assert np.histogram(shares, [-1, 1 / 3, 2 / 3, 1])[0].min() > 15


def test_what_is_no_path_is_told_of():
    for wrong in ((0, 0), (0, 0, 3, 0), (-1, 0, 0, 0)):
        with pytest.raises(AdaptError, match="no path of this network"):
            SPACE.check(wrong)
    choices = {("a", "keep"): 0.0, ("a", "width"): 0.5, ("b", "kernel"): 5.0, ("", "exit"): 0.0}
    assert SPACE.choices((1, 2, 1, 0)) == choices
    # Of a block that is left out nothing else is chosen, neither of those behind an exit.
    assert SPACE.settled((1, 2, 1, 0)) == (1, 0, 1, 0)
    assert SPACE.settled((0, 2, 1, 1)) == (0, 2, 0, 1)
    assert (SPACE.full, SPACE.smallest, SPACE.thinnest) == ((0, 0, 0, 0), (1, 0, 0, 1), (1, 0, 2, 0))
    assert SPACE.landmarks() == [(0, 0, 0, 0), (0, 0, 0, 1), (1, 0, 2, 0), (1, 0, 0, 1)]


def test_a_network_of_which_nothing_can_be_left_out_is_told_of():
    for kind in ("vgg", "grouped"):
        with pytest.raises(AdaptError, match="the network has no block that could be smaller"):
            supernet_of(kind)
    with pytest.raises(AdaptError, match="the network has no block that could be smaller"):
        Supernet(DomainBank(network_of(sized(64, "regnetx_002", 368)), 64))


def test_blocks_are_found_with_what_they_have_of_their_own():
    blocks = {block.name: block for block in find_blocks(bank_of("mobilenet"))}
    with_se = blocks["model.blocks.2.1"]
    assert with_se.skippable
    assert with_se.hidden[0].makers == ("model.blocks.2.1.conv_pw", "model.blocks.2.1.se.conv_expand")
    # Each stage keeps its first block.
    assert not find_blocks(bank_of("vit"))[0].skippable
    assert with_se.depthwise == ("model.blocks.2.1.conv_dw",)
    assert not blocks["model.blocks.2.0"].skippable
    assert all(not block.hidden for block in find_blocks(bank_of("grouped")))
