from collections.abc import Callable

import numpy as np
import torch
from scipy.special import log_softmax

from manyeyes.features.table import FeatureTable
from manyeyes.gates.embedding import COORDINATES, EmbeddingGate
from manyeyes.gates.mixing import log_weights

MakeTable = Callable[..., FeatureTable]


def test_it_is_equation_6(noise: MakeTable) -> None:
    table = noise(7, [4, 9, 2])
    gate = EmbeddingGate.for_table(table)
    generator = torch.Generator().manual_seed(0)
    for parameter in gate.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    logits = []
    for block, weight in zip(table.blocks.values(), gate.parameters(), strict=True):
        assert weight.shape == (COORDINATES, block.shape[1])
        standardised = (block - block.mean(axis=0)) / block.std(axis=0)
        embedded = np.maximum(standardised @ weight.detach().numpy().T, 0)
        logits.append(embedded.mean(axis=1))
    np.testing.assert_allclose(log_weights(gate, table), log_softmax(np.stack(logits, axis=1), axis=1), atol=1e-4)


def test_how_two_experts_compare_depends_on_their_own_blocks_alone(noise: MakeTable) -> None:
    table, other = noise(7, [4, 9, 2]), noise(7, [4, 9, 2], seed=1)
    gate = EmbeddingGate.for_table(table)
    generator = torch.Generator().manual_seed(0)
    for parameter in gate.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    before = log_weights(gate, table)
    after = log_weights(gate, FeatureTable({**table.blocks, "block2": other.blocks["block2"]}))
    np.testing.assert_allclose(after[:, 0] - after[:, 1], before[:, 0] - before[:, 1], atol=1e-5)
    assert not np.allclose(after, before)


def test_columns_are_standardised_by_the_photos_it_was_made_for(noise: MakeTable) -> None:
    table = noise(50, [4, 3])
    moved = FeatureTable({name: 1000 * block + 7 for name, block in table.blocks.items()})
    gate, other = (EmbeddingGate.for_table(one) for one in (table, moved))
    np.testing.assert_allclose(other.look(moved), gate.look(table), atol=1e-4)
    np.testing.assert_allclose(gate.look(table).std(dim=0, correction=0), 1, atol=1e-5)
    np.testing.assert_allclose(gate.look(table[:2]), gate.look(table)[:2])


def test_a_constant_column_is_seen_as_nothing(noise: MakeTable) -> None:
    table = noise(50, [4, 3])
    for value in (0.0, 0.1, 12345.678):
        table.blocks["block0"][:, 2] = value
        seen = EmbeddingGate.for_table(table).look(table)
        np.testing.assert_allclose(seen[:, 2], 0, atol=1e-2)


def test_columns_can_be_put_in_place_and_learnt_through(noise: MakeTable) -> None:
    table = noise(7, [4, 9])
    gate = EmbeddingGate.for_table(table)
    other = noise(7, [4, 9], seed=1)
    columns, values = torch.tensor([1, 5]), torch.from_numpy(other.concatenated()[:, [1, 5]]).requires_grad_()
    mixed = table.concatenated().copy()
    mixed[:, [1, 5]] = other.concatenated()[:, [1, 5]]
    seen = gate.with_columns(gate.look(table), columns, values)
    expected = gate.look(FeatureTable({"block0": mixed[:, :4], "block1": mixed[:, 4:]}))
    np.testing.assert_allclose(seen.detach(), expected, atol=1e-5)
    gate(seen)[:, 0].sum().backward()
    assert values.grad is not None and values.grad.abs().sum() > 0
