"""The mixture trained jointly, with and without a label space."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from manyeyes.errors import ChoiceError
from manyeyes.experts.folds import judged
from manyeyes.experts.lesson import Lesson
from manyeyes.features.table import FeatureTable
from manyeyes.fusion import gradient
from manyeyes.fusion.embedding_classifier import EmbeddingClassifier
from manyeyes.fusion.fusion import Fusion
from manyeyes.fusion.mixture import MixtureOfExperts
from manyeyes.gates.mixing import Space
from manyeyes.label_space.vectors import label_vectors
from manyeyes.state import pack, unpack

FloatArray = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Clouds = Callable[..., tuple[FeatureTable, Labels]]

TRAININGS = [
    {"training": "joint"},
    {"training": "joint", "label_space": "random"},
    {"training": "joint", "label_space": "random", "train_label_space": True},
    {"training": "warm-joint"},
    {"training": "warm-joint", "label_space": "random", "train_label_space": True},
]
short = pytest.mark.usefixtures("fast_descent", "two_strengths")
every_training = pytest.mark.parametrize("choices", TRAININGS, ids=lambda choices: "-".join(map(str, choices.values())))


def mixture(gate: str = "embedding", **choices: Any) -> MixtureOfExperts:
    return MixtureOfExperts(gate, **choices)


def log_loss(model: Fusion, table: FeatureTable, y: Labels) -> float:
    return float(-model.predict_log_proba(table)[np.arange(len(y)), y].mean())


@short
@every_training
@pytest.mark.parametrize("space", ["probability", "log"])
def test_it_is_a_mixture_like_any_other(labelled: Clouds, choices: dict[str, Any], space: Space) -> None:
    table, y = labelled(150)
    new, truth = labelled(300, seed=1)
    model = mixture(space=space, **choices).fit(table, y)
    weights = model.gate_weights(new)
    assert model.panel_.names_ == ["a", "b", "c"] and weights.shape == (300, 3)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
    opinions = np.exp(model.panel_.log_proba(new))
    np.testing.assert_allclose(opinions.sum(axis=2), 1)
    model.temperature_ = 1.0
    by_hand = (
        np.einsum("nk,nkc->nc", weights, opinions)
        if space == "probability"
        else np.prod(opinions ** weights[:, :, None], axis=1)
    )
    np.testing.assert_allclose(model.predict_proba(new), by_hand / by_hand.sum(axis=1, keepdims=True), atol=1e-5)
    assert (model.predict(new) == truth).mean() > 0.6


@short
@every_training
def test_the_same_seed_gives_the_same_model(labelled: Clouds, choices: dict[str, Any]) -> None:
    table, y = labelled(90)
    one, again = (mixture(random_state=3, **choices).fit(table, y).predict_log_proba(table) for _ in range(2))
    assert np.array_equal(one, again)


@short
@every_training
@pytest.mark.parametrize("gate", ["embedding", "cnn32", "constant"])
def test_it_survives_being_packed(labelled: Clouds, choices: dict[str, Any], gate: str) -> None:
    table, y = labelled(60)
    model = mixture(gate, **choices).fit(table, y)
    arrays: dict[str, npt.NDArray[Any]] = {}
    back = unpack(pack(model, arrays), arrays)
    assert np.array_equal(back.predict_log_proba(table), model.predict_log_proba(table))


@pytest.mark.parametrize("gate", ["uniform", "constant", "embedding"])
def test_trained_jointly_it_is_no_worse_than_the_plain_mean(clouds: Clouds, gate: str) -> None:
    table, y = clouds(400)
    new, truth = clouds(1000, seed=1)
    uniform = mixture("uniform").fit(table, y)
    joint = mixture(gate, training="joint").fit(table, y)
    assert joint.score(new, truth) > uniform.score(new, truth) - 0.02
    assert log_loss(joint, new, truth) < log_loss(uniform, new, truth) + 0.05


@pytest.mark.parametrize("training", ["joint", "warm-joint"])
def test_one_expert_is_that_expert(clouds: Clouds, training: str) -> None:
    table, y = clouds(60, apart=[1.0])
    model = mixture(training=training).fit(table, y)
    model.temperature_ = 1.0
    np.testing.assert_allclose(model.predict_log_proba(table), model.panel_.opinion(0, table), atol=1e-9)
    assert model.is_uniform


@short
def test_with_no_epoch_a_warm_start_stays_what_the_stages_made(
    labelled: Clouds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradient, "EPOCHS", 0)
    table, y = labelled(90)
    for choices in ({}, {"label_space": "random"}):
        staged = mixture(**choices).fit(table, y)
        warm = mixture(training="warm-joint", **choices).fit(table, y)
        assert warm.joint_epochs_ == 0
        assert np.array_equal(warm.predict_log_proba(table), staged.predict_log_proba(table))


@short
def test_a_warm_start_begins_with_the_experts_it_was_given(labelled: Clouds) -> None:
    """What they say of raw columns is what the model begins to train from, also with a label space that moves."""
    from manyeyes.experts.panel import ExpertPanel
    from manyeyes.fusion.joint import refitted
    from manyeyes.fusion.joint_model import Input, JointModel
    from manyeyes.gates.constant import ConstantGate

    table, y = labelled(60)
    for trains_vectors in (False, True):
        staged = mixture(label_space="random").fit(table, y)
        panel = ExpertPanel(staged.panel_.members, staged.panel_.label_vectors)
        experts = refitted(staged.panel_, Lesson(table, y), np.arange(60))
        inputs = [Input.of(panel, names, table, trains_vectors) for _, names in panel.members]
        gate = ConstantGate.for_table(panel.inputs(table))
        model = JointModel(inputs, 3, gate, gate.look(table), "probability", panel.label_vectors)
        for k, expert in enumerate(experts):
            model.set_expert(k, expert.coef_, expert.intercept_)
            coef, intercept = model.expert(k)
            np.testing.assert_allclose(coef, expert.coef_, atol=1e-5)
            np.testing.assert_allclose(intercept, expert.intercept_, atol=1e-5)
        assert (model.places is not None) is trains_vectors


@short
def test_only_a_label_space_that_is_trained_moves(labelled: Clouds) -> None:
    table, y = labelled(90)
    at_first = label_vectors("random", 5)
    for training in ("joint", "warm-joint"):
        choices: dict[str, Any] = {"training": training, "label_space": "random", "random_state": 5}
        frozen = mixture(**choices).fit(table, y)
        trained = mixture(train_label_space=True, **choices).fit(table, y)
        assert np.array_equal(frozen.panel_.label_vectors, at_first)
        if trained.joint_epochs_:
            used = np.unique(table.source_labels["a"].index[:, :5])
            moved = (trained.panel_.label_vectors != at_first).any(axis=1)
            assert moved[used].all() and not np.delete(moved, used).any()
    assert mixture(training="joint", label_space="random", train_label_space=True).fit(table, y).joint_epochs_ > 0


def test_a_label_space_helps_where_labels_tell_classes_apart(labelled: Clouds) -> None:
    table, y = labelled(200)
    new, truth = labelled(300, seed=1)
    without, within = (mixture("uniform", label_space=space).fit(table, y) for space in (None, "random"))
    assert within.labelled_ == ["a", "b"] and without.labelled_ == []
    assert log_loss(within, new, truth) < log_loss(without, new, truth) - 0.1


@short
@pytest.mark.parametrize("training", ["staged", "joint", "warm-joint"])
def test_backbones_without_a_head_take_part_without_it(labelled: Clouds, training: str) -> None:
    table, y = labelled(90)
    headless = FeatureTable(table.blocks, table.thumbnails)
    without, within = (mixture(training=training, label_space=space).fit(headless, y) for space in (None, "random"))
    assert np.array_equal(without.predict_log_proba(headless), within.predict_log_proba(headless))
    members = mixture(training=training, label_space="random").fit(table, y).panel_.members
    assert [len(names) for _, names in members] == [2, 2, 1]


def test_photos_without_the_source_labels_it_was_fitted_with_are_refused(labelled: Clouds) -> None:
    table, y = labelled(30)
    model = mixture("uniform", label_space="random").fit(table, y)
    with pytest.raises(ValueError, match="the feature table lacks the source labels of a"):
        model.predict(FeatureTable(table.blocks, table.thumbnails))


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"label_space": "random", "train_label_space": True}, "wants a label_space, and training='joint'"),
        ({"training": "joint", "train_label_space": True}, "wants a label_space, and training='joint'"),
        ({"training": "joint", "expert": "kernel-ridge"}, "wants expert='softmax'"),
        ({"training": "warm-joint", "concatenated": ("kernel-ridge",)}, "wants expert='softmax'"),
    ],
)
def test_choices_that_do_not_go_together_are_refused(labelled: Clouds, choices: dict[str, Any], words: str) -> None:
    with pytest.raises(ChoiceError, match=words):
        mixture(**choices).fit(*labelled(30))


class Watched(MixtureOfExperts):
    """Keeps what it says honestly of its training rows."""

    def _fit(self, lesson: Lesson) -> FloatArray:
        self.honest_ = super()._fit(lesson)
        return self.honest_


@short
@pytest.mark.parametrize("with_groups", [False, True])
def test_nothing_is_claimed_of_rows_that_were_learnt_from(labelled: Clouds, with_groups: bool) -> None:
    table, y = labelled(200)
    groups = np.arange(200) // 2 if with_groups else None
    model = Watched("constant", "joint").fit(table, y, groups)
    known = np.isfinite(model.honest_).all(axis=1)
    assert np.isnan(model.honest_[~known]).all()
    assert 10 <= known.sum() <= 30
    assert np.isin(y, y[~known]).all()
    for expert in model.panel_.experts_:
        assert np.array_equal(np.isfinite(expert.out_of_fold_).all(axis=1), known)
    if groups is not None:
        assert not np.isin(groups[known], groups[~known]).any()


def test_the_rows_to_stop_by_leave_every_class_something_to_learn_from(clouds: Clouds) -> None:
    table, y = clouds(60)
    y = np.where(np.arange(60) < 4, 10 + np.arange(60) // 2, y)  # two classes of two photos, each from one plant
    groups = np.where(np.arange(60) < 4, 1000 + np.arange(60) // 2, np.arange(60))
    for seed in range(10):
        lesson = Lesson(table, y, groups, random_state=seed)
        rows, held = gradient.split_off(lesson)
        assert np.array_equal(np.sort(np.concatenate([rows, held])), np.arange(60))
        assert set(y[rows]) == set(y) and len(held)
        assert judged(lesson.labels, groups)[held].all()


def test_with_one_photo_a_class_there_is_nothing_to_stop_by(clouds: Clouds) -> None:
    table, y = clouds(3)
    rows, held = gradient.split_off(Lesson(table, y))
    assert rows.tolist() == [0, 1, 2] and not len(held)
    for model in (mixture(training="joint"), mixture(training="warm-joint"), EmbeddingClassifier()):
        np.testing.assert_allclose(model.fit(table, y).predict_proba(table).sum(axis=1), 1)


@pytest.mark.parametrize("kind", [EmbeddingClassifier, lambda: mixture("constant", training="joint")])
def test_it_stops_where_it_was_best_on_the_rows_held_out(
    clouds: Clouds, kind: Callable[[], Fusion], monkeypatch: pytest.MonkeyPatch
) -> None:
    """More epochs after the best one, for want of patience or not, change nothing."""
    table, y = clouds(120, apart=[0.3, 0.3])
    monkeypatch.setattr(gradient, "LEARNING_RATE", 0.05)
    patient = kind().fit(table, y)
    reached = getattr(patient, "epochs_", None) or getattr(patient, "joint_epochs_", 0)
    assert 0 < reached < gradient.EPOCHS
    monkeypatch.setattr(gradient, "EPOCHS", reached)
    assert np.array_equal(kind().fit(table, y).predict_log_proba(table), patient.predict_log_proba(table))


def test_the_embedding_classifier_is_what_the_caption_says(clouds: Clouds) -> None:
    table, y = clouds(120)
    new, truth = clouds(200, seed=1)
    model = EmbeddingClassifier().fit(table, y)
    embedded = [
        np.maximum(block @ map_.T + offset, 0)
        for block, map_, offset in zip(new.blocks.values(), model.maps_, model.offsets_, strict=True)
    ]
    assert embedded[0].shape == (200, 100)
    logits = np.mean(embedded, axis=0) @ model.coef_.T + model.intercept_
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    model.temperature_ = 1.0
    np.testing.assert_allclose(model.predict_proba(new), expected)
    assert model.score(new, truth) > 0.7
    arrays: dict[str, npt.NDArray[Any]] = {}
    assert np.array_equal(unpack(pack(model, arrays), arrays).predict_proba(new), model.predict_proba(new))
