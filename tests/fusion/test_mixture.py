from collections.abc import Callable
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import log_softmax

from manyeyes.errors import UnknownNameError
from manyeyes.experts.calibration import fit_temperature, tempered
from manyeyes.experts.panel import ExpertPanel
from manyeyes.experts.softmax import SoftmaxRegression
from manyeyes.features.table import FeatureTable
from manyeyes.fusion import FUSIONS
from manyeyes.fusion.mixture import MixtureOfExperts
from manyeyes.gates import GATES
from manyeyes.gates.embedding import EmbeddingGate
from manyeyes.gates.mixing import log_weights, mix
from manyeyes.gates.training import train_gate
from manyeyes.study.metrics import score

FloatArray = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Clouds = Callable[..., tuple[FeatureTable, Labels]]


def with_thumbnails(table: FeatureTable, seed: int = 0) -> FeatureTable:
    thumbnails = np.random.default_rng(seed).integers(0, 256, (len(table), 8, 8, 3), np.uint8)
    return FeatureTable(table.blocks, thumbnails)


def uncalibrated(model: MixtureOfExperts, table: FeatureTable) -> FloatArray:
    model.temperature_ = 1.0
    return model.predict_log_proba(table)


def test_with_a_uniform_gate_it_is_the_plain_mean(clouds: Clouds) -> None:
    table, y = clouds(60)
    new = clouds(40, seed=1)[0]
    model = MixtureOfExperts("uniform").fit(table, y)
    experts = [SoftmaxRegression().fit(block, y) for block in table.blocks.values()]
    mean = np.mean(
        [expert.predict_proba(block) for expert, block in zip(experts, new.blocks.values(), strict=True)], axis=0
    )
    np.testing.assert_allclose(np.exp(uncalibrated(model, new)), mean, atol=1e-12)
    np.testing.assert_allclose(model.gate_weights(new), 1 / 3)
    assert model.gate_epochs_ == 0


@pytest.mark.parametrize("gate", GATES.names())
def test_with_one_expert_it_is_that_expert(clouds: Clouds, gate: str) -> None:
    table, y = clouds(40, apart=[1.0])
    table = with_thumbnails(table)
    model = MixtureOfExperts(gate, thumbnail=8).fit(table, y)
    expert = SoftmaxRegression().fit(table.blocks["a"], y)
    np.testing.assert_allclose(uncalibrated(model, table), expert.predict_log_proba(table.blocks["a"]), atol=1e-12)


@pytest.mark.parametrize("gate", GATES.names())
def test_it_weighs_each_experts_probabilities(clouds: Clouds, gate: str) -> None:
    table, y = clouds(60, apart=[1.5, 0.0])
    table = with_thumbnails(table)
    model = MixtureOfExperts(gate, thumbnail=8, expert="kernel-ridge").fit(table, y)
    weights = model.gate_weights(table)
    assert weights.shape == (60, 2)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
    by_hand = np.einsum("nk,nkc->nc", weights, np.exp(model.panel_.log_proba(table)))
    np.testing.assert_allclose(np.exp(uncalibrated(model, table)), by_hand, atol=1e-6)


def test_gate_and_temperature_are_learnt_from_out_of_fold_opinions(clouds: Clouds) -> None:
    table, y = clouds(60)
    counts = np.where(y == 0, 3.0, 1.0) / (5 / 3)
    panel = ExpertPanel("kernel-ridge").fit(table, y)
    model = MixtureOfExperts("embedding", class_weight={0: 3.0}, random_state=4).fit(table, y, panel=panel)
    trained = train_gate(EmbeddingGate, table, panel.out_of_fold_, y, counts, seed=4)
    assert np.array_equal(model.gate_weights(table), np.exp(log_weights(trained.gate, table)))
    assert model.gate_epochs_ == trained.epochs
    assert model.temperature_ == fit_temperature(mix(trained.held_out, panel.out_of_fold_), y, counts)


def test_mixing_is_done_in_logarithms() -> None:
    rng = np.random.default_rng(0)
    log_a = log_softmax(rng.normal(size=(6, 3)), axis=1)
    log_c = log_softmax(rng.normal(size=(6, 3, 4)), axis=2)
    by_hand = np.log(np.einsum("nk,nkc->nc", np.exp(log_a), np.exp(log_c)))
    np.testing.assert_allclose(mix(log_a, log_c), by_hand)
    np.testing.assert_allclose(mix(log_a, log_c - 2000), by_hand - 2000)


def test_a_gate_finds_out_which_expert_knows_which_photo(clouds: Clouds) -> None:
    """The class shows in block a where a switch is on, and in block b where it is off; both also show the switch."""
    rng = np.random.default_rng(0)
    table, y = clouds(600, apart=[4.0, 4.0])
    is_on = rng.random(600) < 0.5
    for name, is_blind in (("a", ~is_on), ("b", is_on)):
        block = table.blocks[name]
        block[is_blind] = rng.permutation(block[is_blind])
        switch = 1.5 * np.where(is_blind, -1, 1)[:, None] + rng.normal(size=(600, 6))
        table.blocks[name] = np.concatenate([block, switch.astype(np.float32)], axis=1)
    train, test = table[:400], table[400:]
    panel = ExpertPanel().fit(train, y[:400])
    accuracy = {
        gate: MixtureOfExperts(gate).fit(train, y[:400], panel=panel).score(test, y[400:])
        for gate in ("uniform", "constant", "embedding")
    }
    alone = (panel.log_proba(test).argmax(axis=2) == y[400:, None]).mean(axis=0)
    assert accuracy["embedding"] > max(accuracy["uniform"], accuracy["constant"], *alone) + 0.1


@pytest.mark.parametrize("name", ["mixture", "stacking", "best-single"])
def test_a_shared_panel_gives_the_same_as_an_own(clouds: Clouds, name: str) -> None:
    table, y = clouds(60)
    panel = ExpertPanel("kernel-ridge").fit(table, y)
    shared = FUSIONS[name](expert="kernel-ridge").fit(table, y, panel=panel)
    own = FUSIONS[name](expert="kernel-ridge").fit(table, y)
    assert shared.panel_ is panel
    assert np.array_equal(shared.predict_log_proba(table), own.predict_log_proba(table))


@pytest.mark.parametrize("name", ["mixture", "stacking", "best-single"])
@pytest.mark.parametrize("other", [["b", "a", "c"], ["a", "b"]])
def test_a_panel_of_other_blocks_is_refused(clouds: Clouds, name: str, other: list[str]) -> None:
    table, y = clouds(30)
    panel = ExpertPanel("kernel-ridge").fit(table.select(other), y)
    with pytest.raises(ValueError, match=f"the panel's blocks are {', '.join(other)}, the feature table's a, b, c"):
        FUSIONS[name](expert="kernel-ridge").fit(table, y, panel=panel)


class Overconfident:
    """Thinks in the logits that its block holds, three times as surely as it should."""

    def fit(self, X: Any, y: Any) -> Self:
        self.classes_ = np.unique(y)
        self.out_of_fold_ = self.predict_log_proba(X)
        return self

    def predict_log_proba(self, X: Any) -> FloatArray:
        return tempered(np.asarray(X, np.float64), 1 / 3)


def test_a_temperature_makes_overconfident_experts_honest() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 2000)
    # Logits 2·onehot + N(0, 1) mean exactly what they say of these labels when multiplied by 2; here both agree.
    block = (2 * (2 * np.eye(3)[labels] + rng.normal(size=(2000, 3)))).astype(np.float32)
    table = FeatureTable({"a": block, "b": block})
    panel = ExpertPanel()
    panel.names_, panel.experts_ = ["a", "b"], [Overconfident().fit(block[:1000], labels[:1000])] * 2
    model = MixtureOfExperts("uniform").fit(table[:1000], labels[:1000], panel=panel)
    assert model.temperature_ == pytest.approx(3, rel=0.15)
    calibrated = score(model.predict_log_proba(table[1000:]), labels[1000:])
    raw = score(uncalibrated(model, table[1000:]), labels[1000:])
    assert calibrated.accuracy == raw.accuracy
    assert calibrated.calibration_error < 0.5 * raw.calibration_error
    assert calibrated.log_loss < raw.log_loss


def test_the_cnn_gate_says_that_it_wants_thumbnails(clouds: Clouds) -> None:
    table, y = clouds(30)
    with pytest.raises(ValueError, match="this feature table has none"):
        MixtureOfExperts("cnn", expert="kernel-ridge").fit(table, y)


def test_an_unknown_gate_is_an_error_that_lists_the_known(clouds: Clouds) -> None:
    table, y = clouds(30)
    with pytest.raises(UnknownNameError, match="cnn, constant, embedding, uniform"):
        MixtureOfExperts("guess").fit(table, y)
