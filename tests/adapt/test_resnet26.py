"""The paper's network has the paper's numbers."""

import pytest
import torch
from torch import nn

from manyeyes.adapt.bank import DomainBank
from manyeyes.adapt.compress import compressed
from manyeyes.adapt.plan import Plan
from manyeyes.adapt.resnet26 import ResNet26
from manyeyes.adapt.sites import STAGES
from manyeyes.backbones.card import Preprocessing
from manyeyes.backbones.nets.whole import WholeNet

CONVOLUTIONS = 5_806_944


@pytest.fixture(scope="module")
def nine() -> DomainBank:
    """A bank of nine domains, as the decathlon has beside the one that the backbone comes from."""
    bank = DomainBank(WholeNet(ResNet26(), Preprocessing(size=64)), 64)
    for number in range(9):
        bank.put_new(str(number), ("a", "b"), Plan())
        for adapter in bank[str(number)].adapters.values():
            nn.init.normal_(adapter.map.alpha)
    return bank.eval()


def test_it_has_25_convolutions_in_three_stages(nine):
    assert len(nine.sites) == 25
    assert sum(site.layer.weight.numel() for site in nine.sites) == CONVOLUTIONS
    assert [sum(site.stage == stage for site in nine.sites) for stage in STAGES] == [9, 8, 8]
    widths = [site.into for site in nine.sites]
    assert widths == [32] + [64] * 8 + [128] * 8 + [256] * 8
    assert nine.dimension == 256
    with_head = ResNet26(labels=10)
    features, logits = with_head(torch.randn(2, 3, 64, 64))
    assert (features.shape, logits.shape) == ((2, 256), (2, 10))
    assert ResNet26()(torch.randn(2, 3, 64, 64))[1] is None


def test_halves_are_averaged_and_missing_channels_are_zero():
    block = ResNet26().blocks[4].eval()
    nn.init.zeros_(block.conv2.weight)
    x = torch.rand(1, 64, 8, 8)
    made = block(x)
    assert torch.equal(made[:, :64], nn.functional.avg_pool2d(x, 2))
    assert not made[:, 64:].any()


def test_a_domain_takes_as_many_parameters_as_in_the_papers(nine):
    assert Plan().size(nine.sites) == 645_216
    series = Plan("series").adapters(nine.sites).values()
    assert sum(parameter.numel() for one in series for parameter in one.map.parameters()) == 689_152
    assert nine.norms_size() == 7_744
    assert nine.domain_size("0") == 645_216 + 7_744
    assert nine.backbone_size() == CONVOLUTIONS + 7_744
    assert nine.multiple() == pytest.approx(2.0, abs=0.02)


@pytest.mark.parametrize(
    ("keep", "least", "most"), [(1 / 2, 1.54, 1.56), (1 / 3, 1.36, 1.38), (1 / 4, 1.27, 1.29), (1 / 8, 1.14, 1.15)]
)
def test_compressed_together_nine_domains_take_less(nine, keep, least, most, monkeypatch):
    # How many numbers there are does not depend on which, and the decomposition of 25 large matrices takes seconds.
    monkeypatch.setattr(torch.linalg, "svd", thin)
    smaller = DomainBank(WholeNet(ResNet26(), Preprocessing(size=64)), 64)
    for name, domain in compressed({name: nine[name] for name in nine.names}, keep).items():
        smaller.put(name, domain)
    assert least <= smaller.multiple() <= most


def thin(matrix, full_matrices):
    rank = min(matrix.shape)
    return matrix.new_zeros(len(matrix), rank), matrix.new_ones(rank), matrix.new_zeros(rank, matrix.shape[1])
