from collections.abc import Callable
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import log_softmax

from manyeyes.errors import UnknownNameError
from manyeyes.experts.calibration import fit_temperature, tempered
from manyeyes.experts.lesson import Lesson
from manyeyes.experts.softmax import SoftmaxRegression
from manyeyes.features.table import FeatureTable
from manyeyes.fusion import FUSIONS
from manyeyes.fusion.mixture import MixtureOfExperts
from manyeyes.gates import GATES
from manyeyes.gates.embedding import EmbeddingGate
from manyeyes.gates.mixing import MIXERS, Space, log_weights, mix, pool
from manyeyes.gates.objectives import Mixing
from manyeyes.gates.training import train_gate
from manyeyes.study.metrics import score

FloatArray = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Clouds = Callable[..., tuple[FeatureTable, Labels]]


def with_thumbnails(table: FeatureTable, seed: int = 0) -> FeatureTable:
    thumbnails = np.random.default_rng(seed).integers(0, 256, (len(table), 64, 64, 3), np.uint8)
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
    model = MixtureOfExperts(gate).fit(table, y)
    expert = SoftmaxRegression().fit(table.blocks["a"], y)
    np.testing.assert_allclose(uncalibrated(model, table), expert.predict_log_proba(table.blocks["a"]), atol=1e-12)


@pytest.mark.parametrize("space", list(MIXERS))
@pytest.mark.parametrize("gate", GATES.names())
def test_it_weighs_each_experts_probabilities_or_their_logarithms(clouds: Clouds, gate: str, space: Space) -> None:
    table, y = clouds(60, apart=[1.5, 0.0])
    table = with_thumbnails(table)
    model = MixtureOfExperts(gate, expert="kernel-ridge", space=space).fit(table, y)
    weights, opinions = model.gate_weights(table), np.exp(model.panel_.log_proba(table))
    assert weights.shape == (60, 2)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
    if space == "probability":
        by_hand = np.einsum("nk,nkc->nc", weights, opinions)
    else:
        by_hand = np.prod(opinions ** weights[:, :, None], axis=1)
        by_hand /= by_hand.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.exp(uncalibrated(model, table)), by_hand, atol=1e-6)


def test_gate_and_temperature_are_learnt_from_out_of_fold_opinions(clouds: Clouds) -> None:
    table, y = clouds(60)
    counts = np.where(y == 0, 3.0, 1.0) / (5 / 3)
    model = MixtureOfExperts("embedding", expert="kernel-ridge", class_weight={0: 3.0}, random_state=4).fit(table, y)
    panel = model.panel_
    trained = train_gate(EmbeddingGate, table, Mixing(panel.out_of_fold_, y, counts), seed=4)
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
    np.testing.assert_allclose(pool(log_a, log_c - 2000), pool(log_a, log_c))


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
    lesson = Lesson(train, y[:400])
    fitted = {gate: MixtureOfExperts(gate).fit_lesson(lesson) for gate in ("uniform", "constant", "embedding")}
    accuracy = {gate: model.score(test, y[400:]) for gate, model in fitted.items()}
    alone = (fitted["uniform"].panel_.log_proba(test).argmax(axis=2) == y[400:, None]).mean(axis=0)
    assert accuracy["embedding"] > max(accuracy["uniform"], accuracy["constant"], *alone) + 0.1


@pytest.mark.parametrize("name", ["mixture", "stacking", "best-single"])
def test_a_shared_lesson_gives_the_same_as_an_own(clouds: Clouds, name: str) -> None:
    table, y = clouds(60)
    lesson = Lesson(table, y)
    uniform = MixtureOfExperts("uniform", expert="kernel-ridge").fit_lesson(lesson)
    shared = FUSIONS[name](expert="kernel-ridge").fit_lesson(lesson)
    own = FUSIONS[name](expert="kernel-ridge").fit(table, y)
    assert all(one is other for one, other in zip(shared.panel_.experts_, uniform.panel_.experts_, strict=True))
    assert np.array_equal(shared.predict_log_proba(table), own.predict_log_proba(table))


@pytest.mark.parametrize("space", list(MIXERS))
def test_concatenated_experts_join_and_the_gate_sees_what_they_see(clouds: Clouds, space: Space) -> None:
    table, y = clouds(60)
    model = MixtureOfExperts("embedding", concatenated=("kernel-ridge", "softmax"), space=space).fit(table, y)
    assert model.panel_.names_ == ["a", "b", "c", "all blocks: kernel-ridge", "all blocks: softmax"]
    assert model.gate_.widths == [4, 5, 6, 15, 15]
    assert model.gate_weights(table).shape == (60, 5)
    np.testing.assert_allclose(model.predict_proba(table).sum(axis=1), 1)


def test_one_block_is_not_concatenated_with_itself(clouds: Clouds) -> None:
    table, y = clouds(40, apart=[1.0])
    assert MixtureOfExperts("uniform", concatenated=("softmax",)).fit(table, y).panel_.names_ == ["a"]


class Overconfident:
    """Thinks in the logits that its block holds, three times as surely as it should."""

    def fit(self, X: Any, y: Any) -> Self:
        self.classes_ = np.unique(y)
        self.out_of_fold_ = self.predict_log_proba(X)
        return self

    def predict_log_proba(self, X: Any) -> FloatArray:
        return tempered(np.asarray(X, np.float64), 1 / 3)


def test_a_temperature_makes_overconfident_experts_honest(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 2000)
    # Logits 2·onehot + N(0, 1) mean exactly what they say of these labels when multiplied by 2; here both agree.
    block = (2 * (2 * np.eye(3)[labels] + rng.normal(size=(2000, 3)))).astype(np.float32)
    table = FeatureTable({"a": block, "b": block})
    expert = Overconfident().fit(block[:1000], labels[:1000])
    monkeypatch.setattr(Lesson, "expert", lambda self, kind, names: expert)
    model = MixtureOfExperts("uniform").fit(table[:1000], labels[:1000])
    assert model.temperature_ == pytest.approx(3, rel=0.15)
    calibrated = score(model.predict_log_proba(table[1000:]), labels[1000:])
    raw = score(uncalibrated(model, table[1000:]), labels[1000:])
    assert calibrated.accuracy == raw.accuracy
    assert calibrated.calibration_error < 0.5 * raw.calibration_error
    assert calibrated.log_loss < raw.log_loss


def test_the_cnn_gate_says_that_it_wants_thumbnails(clouds: Clouds) -> None:
    table, y = clouds(30)
    with pytest.raises(ValueError, match="this feature table has none"):
        MixtureOfExperts("cnn32", expert="kernel-ridge").fit(table, y)


def test_an_unknown_gate_is_an_error_that_lists_the_known(clouds: Clouds) -> None:
    table, y = clouds(30)
    with pytest.raises(UnknownNameError, match="cnn32, cnn64, constant, embedding, uniform"):
        MixtureOfExperts("guess").fit(table, y)


@pytest.mark.parametrize(("choice", "known"), [({"training": "slow"}, "staged, joint"), ({"space": "x"}, "log")])
def test_an_unknown_choice_is_an_error_that_lists_the_known(clouds: Clouds, choice: dict[str, str], known: str) -> None:
    with pytest.raises(UnknownNameError, match=known):
        MixtureOfExperts(**choice).fit(*clouds(30))  # type: ignore[arg-type]
