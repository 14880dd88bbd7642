"""What holds for every registered gate."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from manyeyes.features.table import FeatureTable
from manyeyes.gates import GATES
from manyeyes.gates.gate import Gate
from manyeyes.gates.mixing import log_weights

MakeTable = Callable[..., FeatureTable]
every_gate = pytest.mark.parametrize("name", GATES.names())


def stirred(gate: Gate, seed: int = 0, scale: float = 1.0) -> Gate:
    """The gate with random parameters, as if it had learnt something."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in gate.parameters():
        nn.init.normal_(parameter, std=scale * parameter[0].numel() ** -0.5, generator=generator)
    return gate


@every_gate
@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=5), st.floats(0, 30), st.integers(0, 5))
def test_weights_sum_to_one(noise: MakeTable, name: str, widths: list[int], scale: float, seed: int) -> None:
    table = noise(3, widths, seed=seed)
    gate = stirred(GATES[name].for_table(table), seed, scale)
    weights = np.exp(log_weights(gate, table))
    assert weights.shape == (3, len(widths))
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)


@every_gate
def test_a_new_gate_trusts_all_alike(noise: MakeTable, name: str) -> None:
    table = noise(50, [8, 300, 1, 40])
    gate = GATES[name].for_table(table)
    np.testing.assert_allclose(np.exp(log_weights(gate, table)), 0.25, atol=5e-4)


@every_gate
def test_one_expert_has_all_the_weight(noise: MakeTable, name: str) -> None:
    table = noise(4, [5])
    gate = stirred(GATES[name].for_table(table), scale=5)
    np.testing.assert_allclose(np.exp(log_weights(gate, table)), 1)


@every_gate
@pytest.mark.parametrize("order", [[2, 0, 1], [1, 0, 2]])
def test_permuted_blocks_have_permuted_weights(noise: MakeTable, name: str, order: list[int]) -> None:
    table = noise(6, [3, 5, 4])
    gate = stirred(GATES[name].for_table(table))
    permuted = table.select([f"block{k}" for k in order])
    other = GATES[name].for_table(permuted)
    other.load_state_dict(permuted_state(gate, other, order))
    np.testing.assert_allclose(log_weights(other, permuted), log_weights(gate, table)[:, order], atol=1e-5)


def permuted_state(gate: Gate, other: Gate, order: list[int]) -> dict[str, torch.Tensor]:
    """The gate's state with what belongs to each block in another order, over the other's own means and scales."""
    state = other.state_dict()
    for name, value in gate.state_dict().items():
        if name.startswith("maps."):
            state[f"maps.{order.index(int(name.split('.')[1]))}.weight"] = value
        elif name in ("weights", "weigh.weight", "weigh.bias"):
            state[name] = value[order]
        elif name not in ("mean", "scale"):
            state[name] = value
    return state


@every_gate
def test_widths_and_state_are_the_whole_gate(noise: MakeTable, name: str) -> None:
    table = noise(6, [3, 5])
    gate = stirred(GATES[name].for_table(table))
    again = GATES[name](gate.widths)
    again.load_state_dict(gate.state_dict())
    assert np.array_equal(log_weights(again, table), log_weights(gate, table))


@every_gate
def test_many_photos_are_weighed_as_one_by_one(noise: MakeTable, name: str) -> None:
    table = noise(1030, [3, 5])
    gate = stirred(GATES[name].for_table(table))
    rows = [0, 511, 512, 1029]
    alone = np.concatenate([log_weights(gate, table[[row]]) for row in rows])
    np.testing.assert_allclose(log_weights(gate, table)[rows], alone, atol=1e-5)
    assert log_weights(gate, table[:0]).shape == (0, 2)


@pytest.mark.parametrize(
    ("name", "features", "thumbnails"),
    [
        ("cnn32", False, True),
        ("cnn64", False, True),
        ("embedding", True, False),
        ("constant", False, False),
        ("uniform", False, False),
    ],
)
def test_what_each_gate_sees(noise: MakeTable, name: str, features: bool, thumbnails: bool) -> None:
    table, other = noise(5, [3, 4]), noise(5, [3, 4], seed=1)
    gate = stirred(GATES[name].for_table(table))
    before = log_weights(gate, table)
    for changed, matters in (
        (FeatureTable(other.blocks, table.thumbnails), features),
        (FeatureTable(table.blocks, other.thumbnails), thumbnails),
    ):
        assert np.allclose(log_weights(gate, changed), before) != matters


@pytest.mark.parametrize("name", ["embedding", "constant", "uniform"])
def test_gates_that_look_at_no_photo_want_no_thumbnails(noise: MakeTable, name: str) -> None:
    table = FeatureTable(noise(5, [3, 4]).blocks)
    assert log_weights(GATES[name].for_table(table), table).shape == (5, 2)
