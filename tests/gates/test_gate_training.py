from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.special import log_softmax, logsumexp, softmax

from manyeyes.experts.calibration import fit_temperature, tempered
from manyeyes.features.table import FeatureTable
from manyeyes.gates import GATES
from manyeyes.gates.cnn import CnnGate
from manyeyes.gates.gate import Gate
from manyeyes.gates.mixing import Space, pool
from manyeyes.gates.objectives import Mixing, Picking, expected_loss, mixture_loss, pool_loss
from manyeyes.gates.training import TrainedGate, log_weights, train_gate

MakeTable = Callable[..., FeatureTable]
FloatArray = npt.NDArray[np.float64]
CLASSES = 3


class CnnGate8(CnnGate):
    """As the paper's, and small enough for tests."""

    side = 8


KINDS: dict[str, type[Gate]] = {**{name: GATES[name] for name in ("uniform", "constant", "embedding")}, "cnn": CnnGate8}


@dataclass(frozen=True)
class Lesson:
    """Photos, what two experts say of them, (n, 2, C) log-probabilities, and the truth."""

    table: FeatureTable
    opinions: FloatArray
    labels: npt.NDArray[np.int64]

    def train(self, name: str, rows: slice, seed: int = 0, space: Space = "probability") -> TrainedGate:
        labels = self.labels[rows]
        objective = Mixing(self.opinions[rows], labels, np.ones(len(labels)), space=space)
        return train_gate(KINDS[name], self.table[rows], objective, seed)

    def mixed(self, weights: FloatArray, rows: slice) -> FloatArray:
        """log f of the rows: (n, C)."""
        mixed: FloatArray = logsumexp(weights[:, :, None] + self.opinions[rows], axis=1)
        return mixed

    def accuracy(self, log_proba: FloatArray, rows: slice) -> float:
        return float((log_proba.argmax(axis=1) == self.labels[rows]).mean())

    def loss(self, log_proba: FloatArray, rows: slice) -> FloatArray:
        labels = self.labels[rows]
        return -log_proba[np.arange(len(labels)), labels]

    def calibrated(self, log_proba: FloatArray) -> FloatArray:
        """All rows' log-probabilities at their best temperature."""
        return tempered(log_proba, fit_temperature(log_proba, self.labels, np.ones(len(self.labels))))


TRAIN, TEST = slice(0, 400), slice(400, None)


@pytest.fixture(scope="module")
def two_worlds() -> Lesson:
    """On bright photos, whose first block is positive too, the first expert is right; on dark ones the second is.

    Where an expert is not right it guesses, as sure of itself as ever.
    """
    rng = np.random.default_rng(0)
    rows = 800
    bright = rng.random(rows) < 0.5
    pixels = np.where(bright, 170, 80)[:, None, None, None] + rng.integers(-60, 60, (rows, 16, 16, 3))
    sign = np.where(bright, 1.0, -1.0)[:, None]
    blocks = {"told": sign + 0.5 * rng.normal(size=(rows, 6)), "noise": rng.normal(size=(rows, 4))}
    table = FeatureTable({name: block.astype(np.float32) for name, block in blocks.items()}, pixels.astype(np.uint8))
    labels = rng.integers(0, CLASSES, rows)
    guesses = rng.integers(0, CLASSES, (rows, 2))
    said = np.where(np.stack([bright, ~bright], axis=1), labels[:, None], guesses)
    return Lesson(table, log_softmax(3 * np.eye(CLASSES)[said], axis=2), labels)


def equals(seed: int, noise: MakeTable, rows: int = 600) -> Lesson:
    """Two experts that are right equally often, on photos that tell nothing of which."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, rows)
    opinions = log_softmax(1.5 * np.eye(CLASSES)[labels][:, None] + rng.normal(size=(rows, 2, CLASSES)), axis=2)
    return Lesson(noise(rows, [6, 4], side=16, seed=seed), opinions, labels)


@pytest.fixture(scope="module", params=["cnn", "embedding"])
def trained(request: pytest.FixtureRequest, two_worlds: Lesson) -> TrainedGate:
    return two_worlds.train(request.param, TRAIN)


def test_it_learns_whom_to_trust_on_which_photo(two_worlds: Lesson, trained: TrainedGate) -> None:
    assert trained.epochs > 0
    weights = log_weights(trained.gate, two_worlds.table[TEST])
    uniform = two_worlds.mixed(np.full_like(weights, np.log(0.5)), TEST)
    mixed = two_worlds.mixed(weights, TEST)
    rivals = [uniform, two_worlds.opinions[TEST, 0], two_worlds.opinions[TEST, 1]]
    assert two_worlds.accuracy(mixed, TEST) > max(two_worlds.accuracy(rival, TEST) for rival in rivals) + 0.1
    assert two_worlds.loss(mixed, TEST).mean() < min(two_worlds.loss(rival, TEST).mean() for rival in rivals) - 0.05


def test_held_out_weights_are_those_of_gates_that_had_not_seen_the_photo(
    two_worlds: Lesson, trained: TrainedGate
) -> None:
    np.testing.assert_allclose(np.exp(trained.held_out).sum(axis=1), 1, atol=1e-5)
    held_out = two_worlds.loss(two_worlds.mixed(trained.held_out, TRAIN), TRAIN).mean()
    new = two_worlds.loss(two_worlds.mixed(log_weights(trained.gate, two_worlds.table[TEST]), TEST), TEST).mean()
    assert held_out == pytest.approx(new, abs=0.1)
    assert np.abs(log_weights(trained.gate, two_worlds.table[TRAIN]) - trained.held_out).max() > 1e-2


def test_a_gate_that_sees_nothing_learns_who_is_better_on_the_whole(two_worlds: Lesson, noise: MakeTable) -> None:
    lesson = equals(0, noise)
    worse = lesson.opinions.copy()
    worse[:, 1] = -np.log(CLASSES)
    unequal = Lesson(lesson.table, worse, lesson.labels)
    trained = unequal.train("constant", TRAIN)
    weights = np.exp(log_weights(trained.gate, unequal.table[TEST]))
    assert (weights == weights[0]).all() and weights[0, 0] > 0.55


@pytest.mark.parametrize("name", ["embedding", "constant", "cnn"])
@pytest.mark.parametrize("seed", range(3))
def test_where_nothing_can_be_learnt_it_is_no_worse_than_the_plain_mean(noise: MakeTable, name: str, seed: int) -> None:
    lesson = equals(seed, noise, rows=1200)
    train, test = slice(0, 200), slice(200, None)
    trained = lesson.train(name, train, seed)
    weights = log_weights(trained.gate, lesson.table[test])
    harm = lesson.loss(lesson.mixed(weights, test), test) - lesson.loss(
        lesson.mixed(np.full_like(weights, np.log(0.5)), test), test
    )
    assert harm.mean() < 0.01 + 2 * harm.std() / len(harm) ** 0.5


@pytest.mark.parametrize("seed", range(5))
def test_it_leaves_the_start_only_for_more_than_two_standard_errors(noise: MakeTable, seed: int) -> None:
    lesson, every = equals(seed, noise, rows=100), slice(None)
    trained = lesson.train("embedding", every, seed)
    start = lesson.calibrated(lesson.mixed(np.full((100, 2), np.log(0.5)), every))
    gated = lesson.calibrated(lesson.mixed(trained.held_out, every))
    gain = lesson.loss(start, every) - lesson.loss(gated, every)
    # The gate's start is uniform to three digits only.
    assert gain.mean() > 1.98 * gain.std() / 10 if trained.epochs else np.allclose(gain, 0, atol=1e-3)


@pytest.mark.parametrize("name", ["embedding", "constant", "cnn"])
def test_sharpening_alone_is_no_reason_to_leave_the_start(noise: MakeTable, name: str) -> None:
    """Two experts with the same opinion, one of them too timid: trusting the bold one only sharpens the mixture."""
    lesson = equals(0, noise)
    opinions = lesson.opinions.copy()
    opinions[:, 1] = log_softmax(0.3 * opinions[:, 0], axis=1)
    alike = Lesson(lesson.table, opinions, lesson.labels)
    trained = alike.train(name, TRAIN)
    weights = log_weights(trained.gate, alike.table[TEST])
    gated, plain = alike.mixed(weights, TEST), alike.mixed(np.full_like(weights, np.log(0.5)), TEST)
    assert np.array_equal(gated.argmax(axis=1), plain.argmax(axis=1))
    assert np.exp(weights).max() < 0.9


@pytest.mark.parametrize("name", KINDS)
def test_the_seed_decides_and_no_other_dice_are_thrown(noise: MakeTable, two_worlds: Lesson, name: str) -> None:
    torch.manual_seed(7)
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]  # noqa: NPY002
    one = two_worlds.train(name, slice(0, 40), seed=1)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # type: ignore[index]  # noqa: NPY002
    torch.manual_seed(8)
    again = two_worlds.train(name, slice(0, 40), seed=1)
    assert one.epochs == again.epochs and np.array_equal(one.held_out, again.held_out)
    for (key, value), (other_key, other) in zip(
        one.gate.state_dict().items(), again.gate.state_dict().items(), strict=True
    ):
        assert key == other_key and torch.equal(value, other)


def test_another_seed_is_another_gate(two_worlds: Lesson) -> None:
    one, other = (two_worlds.train("embedding", slice(0, 100), seed) for seed in (1, 2))
    assert not np.array_equal(one.held_out, other.held_out)


@pytest.mark.parametrize("name", KINDS)
def test_where_nothing_can_be_held_out_the_gate_stays_uniform(noise: MakeTable, name: str) -> None:
    lesson = equals(0, noise, rows=CLASSES)
    trained = train_gate(KINDS[name], lesson.table, Mixing(lesson.opinions, np.arange(CLASSES), np.ones(CLASSES)))
    assert trained.epochs == 0
    np.testing.assert_allclose(np.exp(trained.held_out), 0.5, atol=5e-4)


@pytest.mark.parametrize("name", KINDS)
def test_one_expert_leaves_nothing_to_learn(noise: MakeTable, name: str) -> None:
    lesson = equals(0, noise, rows=40)
    alone = Lesson(lesson.table.select(["block0"]), lesson.opinions[:, :1], lesson.labels)
    trained = alone.train(name, slice(None))
    assert trained.epochs == 0
    np.testing.assert_allclose(trained.held_out, np.zeros((40, 1)), atol=1e-6)


def test_photos_of_no_weight_teach_nothing(two_worlds: Lesson) -> None:
    """Half the photos swap the experts' roles; the weights say which half is to be believed."""
    opinions, labels = two_worlds.opinions[TRAIN].copy(), two_worlds.labels[TRAIN]
    believed = np.arange(len(labels)) % 2 == 0
    opinions[~believed] = opinions[~believed][:, ::-1]
    table = two_worlds.table[TRAIN]
    for weights, rows in ((2.0 * believed, believed), (2.0 * ~believed, ~believed)):
        trained = train_gate(GATES["embedding"], table, Mixing(opinions, labels, weights))
        mixed = logsumexp(trained.held_out[:, :, None] + opinions, axis=1)
        right = mixed.argmax(axis=1) == labels
        assert right[rows].mean() > right[~rows].mean() + 0.2


def test_the_mixture_loss_is_that_of_the_paper() -> None:
    rng = np.random.default_rng(0)
    a, c = softmax(rng.normal(size=(5, 3)), axis=1), rng.random((5, 3))
    loss = mixture_loss(torch.from_numpy(np.log(a)), torch.from_numpy(np.log(c)))
    np.testing.assert_allclose(loss, -np.log((a * c).sum(axis=1)))


def test_its_gradient_is_weight_minus_responsibility() -> None:
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(size=(5, 3))).requires_grad_()
    likelihood = torch.from_numpy(np.log(rng.random((5, 3))))
    mixture_loss(torch.log_softmax(logits, dim=1), likelihood).sum().backward()  # type: ignore[no-untyped-call]
    weights = logits.detach().softmax(dim=1)
    responsibilities = (logits.detach() + likelihood).softmax(dim=1)
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, weights - responsibilities)


def test_the_pools_loss_is_that_of_the_normalised_product() -> None:
    rng = np.random.default_rng(0)
    a, c = softmax(rng.normal(size=(5, 3)), axis=1), softmax(rng.normal(size=(5, 3, 4)), axis=2)
    labels = rng.integers(0, 4, 5)
    product = np.prod(c ** a[:, :, None], axis=1)
    expected = -np.log((product / product.sum(axis=1, keepdims=True))[np.arange(5), labels])
    loss = pool_loss(torch.from_numpy(np.log(a)), torch.from_numpy(np.log(c)), torch.from_numpy(labels))
    np.testing.assert_allclose(loss, expected)


def test_in_log_space_it_learns_whom_to_trust_as_well(two_worlds: Lesson) -> None:
    trained = two_worlds.train("embedding", TRAIN, space="log")
    weights = log_weights(trained.gate, two_worlds.table[TEST])
    gated, plain = (pool(one, two_worlds.opinions[TEST]) for one in (weights, np.full_like(weights, np.log(0.5))))
    assert trained.epochs > 0
    assert two_worlds.accuracy(gated, TEST) > two_worlds.accuracy(plain, TEST) + 0.1


def test_the_loss_of_picking_is_its_expectation() -> None:
    rng = np.random.default_rng(0)
    a, losses = softmax(rng.normal(size=(5, 3)), axis=1), rng.random((5, 3))
    loss = expected_loss(torch.from_numpy(np.log(a)), torch.from_numpy(losses))
    np.testing.assert_allclose(loss, (a * losses).sum(axis=1))


def test_picking_starts_from_who_loses_least_on_all_photos(noise: MakeTable) -> None:
    rng = np.random.default_rng(0)
    risks, costs = rng.random((60, 2)) * [1.0, 0.8], np.tile([0.0, 0.5], (60, 1))
    objective = Picking(risks, costs, np.arange(60) % CLASSES, np.ones(60))
    trained = train_gate(GATES["constant"], noise(60, [2, 2]), objective)
    assert objective.prior.argmax() == (risks + costs).mean(axis=0).argmin() == 0
    np.testing.assert_allclose(objective.judge(np.zeros((60, 2))), risks[:, 0])
    assert (trained.held_out + objective.prior).argmax(axis=1).max() == 0
