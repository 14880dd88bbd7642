"""Feature gates inside the experts and a gate between these: they compose, whichever gate it is."""

import numpy as np
import pytest

from manyeyes.experts import gated
from manyeyes.experts.gated import GatedSoftmax
from manyeyes.experts.lesson import Lesson
from manyeyes.features.table import FeatureTable
from manyeyes.fusion.mixture import MixtureOfExperts
from manyeyes.gates import GATES

pytestmark = pytest.mark.usefixtures("fast_descent")


def world(rows: int, seed: int) -> tuple[FeatureTable, np.ndarray]:
    """In each of two blocks, which of two features tells the class depends on a third."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, rows)
    blocks = {}
    for name in "ab":
        block = random.normal(size=(rows, 8)).astype(np.float32)
        telling = np.where(block[:, 2] > 0, 0, 1)
        block[np.arange(rows), telling] = np.abs(block[np.arange(rows), telling]) * (2 * labels - 1) * 1.2
        blocks[name] = block + 0.5 * random.normal(size=block.shape).astype(np.float32)
    return FeatureTable(blocks, random.integers(0, 256, (rows, 64, 64, 3), np.uint8)), labels


@pytest.fixture(scope="module")
def lesson():
    """What is fitted for one gate is there for the others."""
    table, y = world(300, seed=0)
    return Lesson(table, y)


@pytest.fixture(autouse=True)
def few_epochs(monkeypatch):
    monkeypatch.setattr(gated, "EPOCHS", 10)


@pytest.mark.parametrize("gate", GATES.names())
def test_every_gate_goes_with_gated_experts(lesson, gate):
    new, truth = world(300, seed=1)
    model = MixtureOfExperts(gate=gate, expert="gated").fit_lesson(lesson)
    experts = model.panel_.experts_
    assert all(isinstance(one, GatedSoftmax) and one.epochs_ > 0 for one in experts)
    np.testing.assert_allclose(model.predict_proba(new).sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(model.gate_weights(new).sum(axis=1), 1, atol=1e-6)
    plain, rows = MixtureOfExperts(gate=gate, expert="softmax").fit_lesson(lesson), np.arange(len(truth))
    assert model.predict_log_proba(new)[rows, truth].mean() > plain.predict_log_proba(new)[rows, truth].mean()


def test_a_uniform_gate_is_the_mean_of_the_gated_experts(lesson):
    new, _ = world(300, seed=1)
    model = MixtureOfExperts(gate="uniform", expert="gated").fit_lesson(lesson)
    said = [expert.predict_proba(new.blocks[name]) for name, expert in zip("ab", model.panel_.experts_, strict=True)]
    # Calibration, which comes after, leaves what is most probable so.
    np.testing.assert_array_equal(model.predict(new), np.mean(said, axis=0).argmax(axis=1))
