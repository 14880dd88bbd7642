"""Norms on a path: they give what they give on the full path, on the mean and in spread, and forget what they saw."""

import numpy as np
import pytest
import torch
from tiny import bank_of, framed, same, some_photos, state_of

from manyeyes.adapt.adapting import Course
from manyeyes.adapt.plan import Plan
from manyeyes.adapt.supernet.judging import PathJudge
from manyeyes.adapt.supernet.statistics import batch_norms, calibrated, knowing, looked, matched
from manyeyes.adapt.supernet.supernet import Supernet

COURSE = Course("one", some_photos(60), np.arange(48), np.arange(48, 60))


def norm(kind=torch.nn.BatchNorm2d) -> torch.nn.Sequential:
    made = kind(3)
    made.running_mean.copy_(torch.tensor([0.5, -1.0, 2.0]))
    made.running_var.copy_(torch.tensor([0.3, 2.0, 5.0]))
    torch.nn.init.normal_(made.weight)
    torch.nn.init.normal_(made.bias)
    return torch.nn.Sequential(made).eval()


def moments(x: torch.Tensor) -> torch.Tensor:
    return torch.stack([x.mean(dim=(0, 2, 3)), x.std(dim=(0, 2, 3), unbiased=False)])


def test_other_inputs_come_out_as_those_of_the_full_path_do():
    network = norm()
    full, path = torch.randn(16, 3, 6, 6) * 3 + 1, torch.randn(16, 3, 5, 5) * 0.4 - 2
    wanted = moments(network(full))
    assert not torch.allclose(moments(network(path)), wanted, atol=0.1)
    before = state_of(network)
    made, known = looked(network, lambda: network(full))
    assert torch.equal(made, network(full))
    with knowing(network, known):
        with matched(network):
            by_batch = network(path)
        with calibrated(network, lambda: network(path)):
            calibrated_to = network(path)
            alone = network(path[:1])
    assert torch.allclose(moments(by_batch), wanted, atol=1e-3)
    assert torch.allclose(calibrated_to, by_batch, atol=1e-4)
    assert torch.allclose(alone, calibrated_to[:1], atol=1e-6)  # whatever else is in the batch
    assert same(state_of(network), before) and not hasattr(network[0], "full_mean")


def test_the_same_inputs_come_out_as_they_do():
    network, x = norm(), torch.randn(8, 3, 4, 4)
    wanted, known = looked(network, lambda: network(x))
    with knowing(network, known):
        with matched(network):
            assert torch.allclose(network(x), wanted, atol=1e-5)
        with calibrated(network, lambda: network(x)):
            assert torch.allclose(network(x), wanted, atol=1e-5)


def test_gradients_know_that_the_statistics_are_those_of_the_batch():
    """As in a norm in training, adding the same to every input changes nothing."""
    network, x = norm(), torch.randn(8, 3, 4, 4, requires_grad=True)
    _, known = looked(network, lambda: network(torch.randn(8, 3, 4, 4)))
    with knowing(network, known), matched(network):
        (network(x) * torch.randn(8, 3, 4, 4)).sum().backward()
    assert x.grad.abs().max() > 0.01
    assert torch.allclose(x.grad.sum(dim=(0, 2, 3)), torch.zeros(3), atol=1e-3)


def test_a_constant_channel_does_no_harm():
    network, x = norm(), torch.zeros(8, 3, 4, 4)
    _, known = looked(network, lambda: network(x))
    with knowing(network, known), matched(network):
        assert network(torch.ones(8, 3, 4, 4)).isfinite().all()
    with knowing(network, known), calibrated(network, lambda: network(torch.randn(8, 3, 4, 4))):
        assert network(torch.randn(8, 3, 4, 4)).isfinite().all()


def test_norms_of_a_path_forget():
    bank = bank_of("efficientnet", one=Plan("full"))
    supernet = Supernet(bank, "one")
    before, path = state_of(bank), supernet.space.thinnest
    judge = PathJudge(supernet, COURSE)
    with judge.on(path):
        one = bank.features(framed())
    with supernet.on(path):
        other = bank.features(framed())
    assert not torch.allclose(one, other)
    assert same(state_of(bank), before)
    with pytest.raises(RuntimeError), judge.on(path):
        raise RuntimeError
    assert same(state_of(bank), before)


@pytest.mark.parametrize("kind", ["resnet", "efficientnet", "convnext"])
def test_a_path_alone_has_statistics_of_its_own(kind):
    bank = bank_of(kind)
    supernet = Supernet(bank)
    judge = PathJudge(supernet, COURSE)
    for path in (supernet.space.full, supernet.space.thinnest, supernet.space.smallest):
        network = supernet.extract(path)
        found = judge.statistics(path)
        assert found.keys() <= network.state_dict().keys()
        if path == supernet.space.full:
            assert all(torch.equal(network.state_dict()[name], one) for name, one in found.items())
        assert len(found) == 2 * len(batch_norms(network))
