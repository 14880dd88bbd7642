from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.special import log_softmax

from manyeyes.features.table import FeatureTable
from manyeyes.gates.cnn import CnnGate, CnnGate32, CnnGate64
from manyeyes.gates.mixing import log_weights

MakeTable = Callable[..., FeatureTable]
Array = npt.NDArray[Any]


def convolved(image: Array, weight: Array, bias: Array) -> Array:
    """3 × 3 convolution with a border of zeros, ReLU, and the maximum of each 2 × 2: (c, s, s) → (c', s/2, s/2)."""
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    response = np.maximum(np.einsum("cxyij,ocij->oxy", windows, weight) + bias[:, None, None], 0)
    channels, side, _ = response.shape
    pooled: Array = response.reshape(channels, side // 2, 2, side // 2, 2).max(axis=(2, 4))
    return pooled


def test_it_is_equation_5(noise: MakeTable) -> None:
    table = noise(4, [2, 2, 2])
    assert table.thumbnails is not None
    gate = CnnGate32.for_table(table)
    torch.nn.init.normal_(gate.weigh.weight, std=0.1, generator=torch.Generator().manual_seed(0))
    state = {name: value.double().numpy() for name, value in gate.state_dict().items()}

    pixels = table.thumbnails.astype(float) / 255
    small = pixels.reshape(4, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    standardised = (small - small.mean(axis=(0, 1, 2))) / small.std(axis=(0, 1, 2))
    logits = []
    for photo in standardised.transpose(0, 3, 1, 2):
        seen = convolved(photo, state["network.0.weight"], state["network.0.bias"])
        seen = convolved(seen, state["network.3.weight"], state["network.3.bias"])
        logits.append(state["weigh.weight"] @ seen.ravel() + state["weigh.bias"])
    np.testing.assert_allclose(log_weights(gate, table), log_softmax(logits, axis=1), atol=1e-4)


@pytest.mark.parametrize(("kind", "side"), [(CnnGate32, 32), (CnnGate64, 64)])
def test_it_has_the_layers_of_the_paper(noise: MakeTable, kind: type[CnnGate], side: int) -> None:
    table = noise(3, [2, 2])
    gate = kind.for_table(table)
    assert gate.look(table).shape == (3, 3, side, side)
    shapes = [tuple(parameter.shape) for parameter in gate.parameters() if parameter.ndim > 1]
    assert shapes == [(32, 3, 3, 3), (64, 32, 3, 3), (2, side**2 * 4)]


@pytest.mark.parametrize("kind", [CnnGate32, CnnGate64])
def test_in_training_it_weighs_as_otherwise_to_two_digits(noise: MakeTable, kind: type[CnnGate]) -> None:
    """There it may compute in half the digits."""
    table = noise(20, [2, 2, 2])
    gate = kind.for_table(table)
    torch.nn.init.normal_(gate.weigh.weight, std=0.02, generator=torch.Generator().manual_seed(0))
    seen = gate.look(table)
    with torch.no_grad():
        careful, quick = gate.eval()(seen).exp(), gate.train()(seen).exp()
    assert careful.std() > 0.05
    np.testing.assert_allclose(quick, careful, atol=0.02)


def test_photos_are_standardised_by_those_it_was_made_for(noise: MakeTable) -> None:
    table = noise(6, [2])
    gate = CnnGate64.for_table(table)
    seen = gate.look(table)
    np.testing.assert_allclose(seen.mean(dim=(0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(seen.std(dim=(0, 2, 3)), 1, atol=1e-3)
    np.testing.assert_allclose(gate.look(table[:2]), seen[:2])


def test_photos_of_one_colour_are_no_trouble() -> None:
    table = FeatureTable({"a": np.zeros((2, 1), np.float32)}, np.full((2, 64, 64, 3), 255, np.uint8))
    assert CnnGate32.for_table(table).look(table).isfinite().all()


def test_without_thumbnails_it_says_so(noise: MakeTable) -> None:
    with pytest.raises(ValueError, match="looks at thumbnails, and this feature table has none"):
        CnnGate32.for_table(FeatureTable(noise(3, [2]).blocks))


def test_a_side_that_cannot_be_made_is_refused(noise: MakeTable) -> None:
    with pytest.raises(ValueError, match="no 64 px thumbnail can be made from 32 px"):
        CnnGate64.for_table(noise(3, [2], side=32))
