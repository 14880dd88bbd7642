"""Adapters: a zero one changes no bit, and what stands beside a layer is the same as another weight in it."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import KINDS, METHODS, MODELS, bank_of, distance, framed, shaken
from torch import nn
from torch.nn import functional

from manyeyes.adapt.adapters import Behind, Beside, PatchesBeside
from manyeyes.adapt.maps import ChannelMap, Full, LowRank, PerChannel
from manyeyes.adapt.plan import Plan
from manyeyes.backbones.timm_import import timm

Conv2dSame = timm.layers.Conv2dSame


def drawn(map_: ChannelMap) -> ChannelMap:
    for parameter in map_.parameters():
        nn.init.normal_(parameter)
    return map_


def folded(layer: nn.Module, adapter: Beside | PatchesBeside) -> torch.Tensor:
    weight = layer.weight.detach().clone()
    adapter.fold_into(weight)
    return weight


@st.composite
def convolutions(draw, sizes=(1, 3, 5)):
    """Any convolution of these filters that has something to say of a photo of 6 to 11 pixels, and such a photo."""
    kernel = draw(st.tuples(st.sampled_from(sizes), st.sampled_from(sizes)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    padding = draw(st.one_of(st.tuples(*(st.integers(0, size) for size in kernel)), st.sampled_from(["same", "valid"])))
    if padding == "same":
        stride = (1, 1)
    groups = draw(st.sampled_from([1, 2]))
    layer = nn.Conv2d(4, 6, kernel, stride, padding, dilation, groups, bias=draw(st.booleans()))
    side = st.integers(max(6, 2 * max(kernel) - 1), 11)
    return layer, torch.randn(2, 4, draw(side), draw(side))


def functional_of(layer: nn.Conv2d, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return functional.conv2d(x, weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)


@given(convolutions())
@settings(deadline=None, max_examples=60)
def test_beside_any_convolution_is_another_weight_in_it(drawn_layer):
    layer, x = drawn_layer
    adapter = Beside(layer, drawn(Full(6, 4, layer.groups)))
    expected = functional_of(layer, x, folded(layer, adapter))
    torch.testing.assert_close(adapter(x, layer(x)), expected, rtol=1e-4, atol=1e-5)


@given(
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    height=st.integers(5, 12),
    width=st.integers(5, 12),
)
@settings(deadline=None, max_examples=60)
def test_the_same_with_padding_that_depends_on_the_photo(kernel, stride, dilation, height, width):
    layer = Conv2dSame(3, 5, kernel, stride=stride, dilation=dilation)
    x = torch.randn(2, 3, height, width)
    adapter = Beside(layer, drawn(Full(5, 3)))
    made = adapter(x, layer(x))
    layer.weight.data = folded(layer, adapter)
    torch.testing.assert_close(made, layer(x), rtol=1e-4, atol=1e-5)


@given(convolutions(sizes=(2, 4)))
@settings(deadline=None, max_examples=60)
def test_the_same_beside_filters_without_a_centre(drawn_layer):
    given_, x = drawn_layer
    layer = nn.Conv2d(4, 6, given_.kernel_size, given_.stride, given_.padding, given_.dilation)
    adapter = PatchesBeside(layer, drawn(LowRank(6, 4 * layer.weight.shape[2:].numel(), 3)))
    expected = functional_of(layer, x, folded(layer, adapter))
    torch.testing.assert_close(adapter(x, layer(x)), expected, rtol=1e-4, atol=1e-4)


def test_the_same_beside_one_filter_a_channel():
    layer, x = nn.Conv2d(6, 6, 5, 2, 2, groups=6), torch.randn(2, 6, 9, 8)
    adapter = Beside(layer, drawn(PerChannel(6)))
    expected = functional_of(layer, x, folded(layer, adapter))
    torch.testing.assert_close(adapter(x, layer(x)), expected)


@pytest.mark.parametrize("shape", [(5, 4), (2, 7, 4), (2, 3, 3, 4)])
def test_the_same_beside_a_linear_layer(shape):
    layer, x = nn.Linear(4, 6), torch.randn(shape)
    adapter = Beside(layer, drawn(LowRank(6, 4, 2, is_last=True)))
    expected = functional.linear(x, folded(layer, adapter), layer.bias)
    torch.testing.assert_close(adapter(x, layer(x)), expected)


def test_behind_a_layer_stands_a_norm_and_a_map():
    u, alpha = torch.randn(4, 6, 5, 5), Full(6, 6)
    adapter = Behind(6, drawn(alpha)).train()
    mean, var = u.mean(dim=(0, 2, 3), keepdim=True), u.var(dim=(0, 2, 3), keepdim=True, unbiased=False)
    expected = u + torch.einsum("oc,bchw->bohw", alpha.alpha, (u - mean) / (var + 1e-5).sqrt())
    torch.testing.assert_close(adapter(torch.empty(0), u), expected)
    rows = torch.randn(4, 7, 6)
    adapter = Behind(6, drawn(LowRank(6, 6, 2, is_last=True)))
    expected = rows + functional.layer_norm(rows, (6,)) @ adapter.map.matrix().T
    torch.testing.assert_close(adapter(torch.empty(0), rows), expected)


def test_only_the_adapter_and_only_in_training_misses_whole_channels():
    layer, x = nn.Conv2d(64, 64, 1), torch.ones(1, 64, 3, 3)
    map_ = Full(64, 64)
    map_.alpha.data = torch.eye(64)
    adapter = Beside(layer, map_, dropout=0.5)
    added = adapter.train()(x, layer(x)) - layer(x)
    assert torch.equal(added.amin(dim=(2, 3)).round(), added.amax(dim=(2, 3)).round())
    assert set(added.round().unique().tolist()) == {0.0, 2.0}
    torch.testing.assert_close(adapter.eval()(x, layer(x)) - layer(x), x, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("kind", "method"), [("efficientnet-lite", "parallel"), *itertools.product(KINDS, METHODS)])
def test_untrained_adapters_change_no_bit_of_any_network(kind, method):
    bank = bank_of(kind)
    before = bank.features(framed())
    bank.put_new("new", ("a", "b"), Plan(method))
    assert torch.equal(bank.switch("new").features(framed()), before)
    assert torch.equal(bank(framed(), "new"), torch.zeros(3, 2))
    assert torch.equal(bank.switch(None).features(framed()), before)


@pytest.mark.parametrize("kind", MODELS)
def test_every_adapter_has_an_effect(kind):
    """Were it called for nothing, its parameters would never learn."""
    bank = bank_of(kind, new=Plan())
    domain = bank["new"]
    shaken(domain)
    bank.switch("new").features(framed()).square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in domain.role_parameters()["adapters"])


def test_adapters_that_start_as_the_published_code_do_change_it():
    bank = bank_of(new=Plan("parallel", start="code"), low=Plan("lowrank", start="code"))
    before = bank.features(framed())
    for name in bank.names:
        assert distance(bank.switch(name).features(framed()), before) > 0.01
