"""Which layers can be adapted, and which only look as if."""

import pytest
import torch
from tiny import KINDS, SIZE, card_of, whole_of
from torch import nn

from manyeyes.adapt.sites import Kind, find_sites, norms_of
from manyeyes.backbones.card import Preprocessing
from manyeyes.backbones.nets.timm_net import TimmHeaded, TimmNet
from manyeyes.backbones.nets.whole import Headed, WholeNet
from manyeyes.errors import AdaptError


class Odd(Headed):
    """Layers of every kind, some of them used in ways that an adapter would not notice."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, 4)
        self.spatial = nn.Conv2d(8, 8, (3, 1), padding=(1, 0), groups=2)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.grouped_pointwise = nn.Conv2d(8, 8, 1, groups=2)
        self.reflected = nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect")
        self.squeeze, self.excite = nn.Conv2d(8, 2, 1), nn.Linear(2, 8)
        self.borrowed = nn.Linear(8, 8)
        self.never = nn.Linear(8, 8)
        self.pointwise = nn.Linear(8, 8)
        self.pooled = nn.Linear(8, 8)
        self.head = nn.Linear(8, 5)
        self.norm, self.bare = nn.LayerNorm(8), nn.LayerNorm(8, elementwise_affine=False)

    def forward(self, pixels):
        x = self.reflected(self.grouped_pointwise(self.depthwise(self.spatial(self.stem(pixels)))))
        gate = self.excite(self.squeeze(x.mean(dim=(2, 3), keepdim=True)).flatten(1))
        x = (x * gate[:, :, None, None]).flatten(2).transpose(1, 2)
        x = nn.functional.linear(x, self.borrowed.weight)
        features = self.pooled(self.bare(self.norm(self.pointwise(x))).mean(dim=1))
        return features, self.head(features)


def test_layers_are_told_apart_and_those_where_an_adapter_would_do_nothing_are_left_out():
    whole = WholeNet(Odd(), Preprocessing(size=SIZE)).eval()
    sites = find_sites(whole, SIZE)
    assert {site.name: site.kind for site in sites} == {
        "stem": Kind.PATCHES,
        "spatial": Kind.SPATIAL,
        "depthwise": Kind.DEPTHWISE,
        "pointwise": Kind.POINTWISE,
    }
    assert [site.stage for site in sites] == ["early", "early", "mid", "late"]
    assert (sites[1].into, sites[1].out_of, sites[1].groups, sites[1].is_last) == (8, 8, 2, False)
    assert (sites[3].into, sites[3].out_of, sites[3].groups, sites[3].is_last) == (8, 8, 1, True)
    assert list(norms_of(whole.network)) == ["norm"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_search_leaves_no_trace(kind):
    whole = whole_of(kind).eval()
    before = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    sites = find_sites(whole, SIZE)
    assert all(torch.equal(tensor, before[name]) for name, tensor in whole.state_dict().items())
    assert not any(module._forward_hooks for module in whole.modules())
    assert all(whole.network.get_submodule(site.name) is site.layer for site in sites)
    assert {site.stage for site in sites} == {"early", "mid", "late"}


def test_the_source_head_is_no_site():
    with_head = TimmHeaded(TimmNet().build(card_of()).model, has_head=False)
    names = [site.name for site in find_sites(WholeNet(with_head, Preprocessing(size=SIZE)).eval(), SIZE)]
    assert not [name for name in names if "fc" in name]
    assert len(names) == len(set(names)) == 15


def test_photos_of_a_size_that_the_network_cannot_take_are_refused():
    with pytest.raises(AdaptError, match=r"the network cannot look at photos of 24 pixels: Input height"):
        find_sites(whole_of("vit").eval(), 24)


def test_a_network_with_nothing_to_adapt_is_refused():
    class Mean(Headed):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3))

        def forward(self, pixels):
            return self.scale * pixels.mean(dim=(2, 3)), None

    with pytest.raises(AdaptError, match="no layer that could be adapted"):
        find_sites(WholeNet(Mean(), Preprocessing(size=SIZE)), SIZE)
