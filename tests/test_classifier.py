"""The estimator on photos: scikit-learn's contract, any kind of labels, and bad files among good ones."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score

import manyeyes.photo_classifier as classifier_module
from manyeyes import ManyEyesClassifier
from manyeyes.backbones.zoo import ZOOS
from manyeyes.errors import BundleError, OfflineError, TooManyRejectedError, UnknownNameError
from manyeyes.fusion import FUSIONS
from manyeyes.gates import GATES
from manyeyes.images import RejectedPhotoWarning

NAMES = {"text": ["apple", "leaf", "sea"], "gaps": [-3, 0, 17], "non-Latin": ["яблоко", "葉", "🌊"], "tidy": [0, 1, 2]}


@pytest.fixture
def model(world):
    return ManyEyesClassifier(zoo=world.fast_zoo, fusion="mixture", gate="constant")


@pytest.fixture
def bad(tmp_path):
    """Three files that are no photos, each in its own way."""
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("not a photo")
    return [str(tmp_path / name) for name in ("empty.png", "text.jpg", "missing.png")]


def good(world):
    """Photos and labels to fit."""
    return world.paths, world.labels


# --- scikit-learn's contract


def test_parameters_go_in_and_out_and_a_clone_is_unfitted(model, world):
    assert model.set_params(gate="cnn64", precision="bf16").get_params()["precision"] == "bf16"
    fitted = model.set_params(gate="uniform", precision="fp32").fit(world.paths, world.labels)
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert not [name for name in vars(copy) if name.endswith("_")]


def test_it_prints_what_differs_from_the_defaults():
    assert repr(ManyEyesClassifier()) == "ManyEyesClassifier()"
    assert repr(ManyEyesClassifier(zoo="paper", gate="cnn64")) == "ManyEyesClassifier(gate='cnn64', zoo='paper')"


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba", "gate_weights"])
def test_before_fit_it_says_so(model, world, method):
    with pytest.raises(NotFittedError):
        getattr(model, method)(world.paths)


def test_saving_before_fit_says_so(model, tmp_path):
    with pytest.raises(NotFittedError):
        model.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_cross_validation(model, world):
    assert cross_val_score(model, world.paths, world.labels, cv=3).min() >= 0.8


def test_an_unreadable_photo_counts_as_wrong_and_stops_no_cross_validation(model, world, bad):
    plain = model.fit(*good(world)).score(*good(world))
    paths, labels = [*world.paths, bad[0]], [*world.labels, "sea"]
    with pytest.warns(RejectedPhotoWarning):
        assert model.score(paths, labels) == pytest.approx(plain * 36 / 37)
        assert model.score(paths, labels, sample_weight=[1] * 36 + [0]) == pytest.approx(plain)
        assert cross_val_score(model, paths, labels, cv=3, error_score="raise").min() >= 0.7


def test_grid_search_over_gates_and_fusions(model, world):
    grid = [{"gate": ["uniform", "constant"]}, {"fusion": ["stacking"]}]
    search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(*good(world))
    assert len(search.cv_results_["params"]) == 3
    assert search.best_score_ >= 0.8
    assert search.predict(world.paths).tolist() == search.best_estimator_.predict(world.paths).tolist()


def test_inside_a_calibrated_classifier(model, world):
    calibrated = CalibratedClassifierCV(model, cv=2).fit(*good(world))
    np.testing.assert_allclose(calibrated.predict_proba(world.paths).sum(axis=1), 1)
    assert calibrated.score(*good(world)) >= 0.8


# --- labels


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_classes_keep_their_names_and_kind(model, world, names):
    labels = [names[index] for index in np.unique(world.labels, return_inverse=True)[1]]
    model.fit(world.paths, labels)
    assert model.classes_.tolist() == sorted(names)
    predicted = model.predict(world.paths)
    assert predicted.dtype.kind == np.asarray(names).dtype.kind
    assert np.mean(predicted == np.array(labels)) >= 0.9
    proba = model.predict_proba(world.paths)
    assert (model.classes_[proba.argmax(axis=1)] == predicted).all()
    assert model.facts_["classes"] == {str(name): 12 for name in sorted(names)}


def test_binary_with_truth_values(model, world):
    labels = [label == "sea" for label in world.labels]
    model.fit(world.paths, labels)
    assert model.classes_.tolist() == [False, True]
    assert model.predict_proba(world.paths).shape == (36, 2)
    assert model.score(world.paths, labels) >= 0.9


def test_a_single_class_is_refused(model, world):
    with pytest.raises(ValueError, match="at least two classes"):
        model.fit(world.paths[:5], world.labels[:5])


def test_no_photos_to_fit_are_refused(model):
    with pytest.raises(ValueError, match="at least two classes"):
        model.fit([], [])


def test_paths_and_labels_must_be_equally_many(model, world):
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(world.paths, world.labels[:-1])


def test_class_weights_by_name(model, world):
    labels = world.labels[::5] * 5  # of which the photos tell nothing, so that only the weights count
    plain = model.fit(world.paths, labels[:36]).predict_proba(world.paths)
    heavy = model.set_params(class_weight={"sea": 1000.0}).fit(world.paths, labels[:36]).predict_proba(world.paths)
    assert plain[:, 2].mean() < 0.5
    assert heavy[:, 2].mean() > 0.9


# --- one model


def test_the_same_seed_gives_the_same_model_bit_for_bit(model, world):
    one, two = (model.set_params(gate="cnn32", random_state=1).fit(*good(world)) for model in (model, clone(model)))
    np.testing.assert_array_equal(one.predict_log_proba(world.paths), two.predict_log_proba(world.paths))
    np.testing.assert_array_equal(one.gate_weights(world.paths), two.gate_weights(world.paths))


def test_any_order_of_the_paths_gives_the_same_rows(model, world):
    model.set_params(gate="embedding").fit(*good(world))
    order = np.random.default_rng(0).permutation(36)
    straight = model.predict_proba(world.paths)
    np.testing.assert_allclose(model.predict_proba([world.paths[i] for i in order]), straight[order], atol=1e-6)
    np.testing.assert_allclose(model.predict_proba(world.paths[7:8] * 3), straight[[7, 7, 7]], atol=1e-6)


def test_paths_may_be_strings_paths_or_an_array(model, world):
    model.fit([Path(path) for path in world.paths], np.array(world.labels, dtype=object))
    expected = model.predict_proba(world.paths)
    for paths in ([Path(path) for path in world.paths], np.array(world.paths), tuple(world.paths)):
        np.testing.assert_array_equal(model.predict_proba(paths), expected)


def test_one_path_alone_is_no_list_of_letters(model, world):
    model.fit(*good(world))
    with pytest.raises(TypeError, match=r"write \['.*00.png'\]"):
        model.predict(world.paths[0])
    assert model.predict_proba([]).shape == (0, 3)
    assert model.predict([]).shape == (0,)


def test_one_backbone_is_enough(world):
    model = ManyEyesClassifier(zoo=world.zoo.partition(",")[0], fusion="mixture", gate="cnn32").fit(*good(world))
    np.testing.assert_array_equal(model.gate_weights(world.paths), np.ones((36, 1)))
    assert model.score(*good(world)) >= 0.9


def test_a_second_fit_may_be_with_another_zoo(model, world):
    tint, edges, _ = world.zoo.split(",")
    model.set_params(zoo=tint).fit(*good(world))
    assert [card.name for card in model.cards_] == ["tint"]
    model.set_params(zoo=f"{edges},{tint}").fit(*good(world))
    assert [card.name for card in model.cards_] == list(model.weights_) == ["edges", "tint"]
    assert model.gate_weights(world.paths).shape == (36, 2)


def test_after_fitting_it_keeps_to_its_backbones(model, world):
    model.fit(*good(world))
    expected = model.predict_proba(world.paths)
    model.set_params(zoo="modern", fusion="auto")
    np.testing.assert_array_equal(model.predict_proba(world.paths), expected)


@pytest.mark.parametrize("fusion", ["auto", "stacking", "best-single", "concat+softmax", "concat+kernel-ridge"])
def test_a_fusion_without_a_gate_says_so(model, world, fusion):
    model.set_params(fusion=fusion).fit(*good(world))
    with pytest.raises(AttributeError, match="has no gate"):
        model.gate_weights(world.paths)


# --- files that are no photos


def test_bad_files_keep_their_place_and_get_no_class(model, world, bad):
    model.fit(*good(world))
    mixed = [bad[0], world.paths[0], bad[1], world.paths[20], bad[2]]
    with pytest.warns(RejectedPhotoWarning, match=r"3 photos could not be read: .*empty\.png: empty"):
        proba = model.predict_proba(mixed)
    assert np.isnan(proba).all(axis=1).tolist() == [True, False, True, False, True]
    np.testing.assert_allclose(proba[[1, 3]], model.predict_proba([world.paths[0], world.paths[20]]), atol=1e-6)
    with pytest.warns(RejectedPhotoWarning):
        assert model.predict(mixed).tolist() == [None, "apple", None, "leaf", None]
        assert np.isnan(model.gate_weights(mixed)).any(axis=1).tolist() == [True, False, True, False, True]


def test_only_bad_files_give_only_gaps(model, world, bad):
    model.fit(*good(world))
    with pytest.warns(RejectedPhotoWarning):
        assert model.predict(bad).tolist() == [None, None, None]
        assert np.isnan(model.predict_proba(bad)).all()


def test_fitting_leaves_bad_files_out_and_nothing_in_their_place(model, world, bad):
    plain = model.fit(*good(world)).predict_proba(world.paths)
    paths, labels = world.paths.copy(), world.labels.copy()
    for place, path in zip((0, 17, 30), bad, strict=True):
        paths.insert(place, path)
        labels.insert(place, "leaf")
    with pytest.warns(RejectedPhotoWarning, match="3 photos"):
        model.fit(paths, labels)
    assert [one.path for one in model.rejected_] == bad
    assert (model.facts_["photos"], model.facts_["rejected"]) == (36, 3)
    np.testing.assert_array_equal(model.predict_proba(world.paths), plain)


def test_groups_stay_beside_their_photos(model, world, bad):
    """Each group is one class here, so every fold lacks a class: other experts come of it, and only with right rows."""
    plain = model.fit(*good(world)).predict_proba(world.paths)
    grouped = model.fit(*good(world), groups=world.labels).predict_proba(world.paths)
    assert not np.allclose(plain, grouped)
    with pytest.warns(RejectedPhotoWarning):
        model.fit([bad[0], *world.paths], ["sea", *world.labels], groups=["apple", *world.labels])
    np.testing.assert_array_equal(model.predict_proba(world.paths), grouped)


def test_too_many_bad_files_end_the_fit(model, world, bad):
    paths, labels = [*world.paths[:4], *world.paths[12:16], *bad], ["a"] * 4 + ["b"] * 7
    with pytest.raises(TooManyRejectedError, match="3 of 11 photos cannot be used, more than 20%"):
        model.fit(paths, labels)
    with pytest.warns(RejectedPhotoWarning):
        model.set_params(max_rejected=0.5).fit(paths, labels)


def test_all_files_bad(model, bad):
    with pytest.raises(TooManyRejectedError, match="3 of 3"):
        model.fit(bad, ["a", "b", "b"])
    with pytest.raises(ValueError, match="no photos"):
        model.set_params(max_rejected=1).fit(bad, ["a", "b", "b"])


def test_a_class_without_a_readable_photo_is_named(model, world, bad):
    with pytest.warns(RejectedPhotoWarning) as warned:
        model.fit([*world.paths, bad[0]], [*world.labels, "ghost"])
    assert "no photo of ghost could be read: not learnt" in [str(one.message) for one in warned]
    assert model.classes_.tolist() == ["apple", "leaf", "sea"]


# --- precision


def test_half_precision_sees_anew_predicts_alike_and_is_kept(model, world, tmp_path):
    full = model.set_params(zoo=world.zoo).fit(*good(world))
    half = clone(model).set_params(precision="bf16").fit(*good(world))
    for one, other in zip(*(each.look(world.paths).table.blocks.values() for each in (full, half)), strict=True):
        np.testing.assert_allclose(one, other, atol=0.1)
    assert [backbone.precision for backbone in half._built.values()] == ["fp32", "fp32", "bf16"]  # ONNX has only one
    assert np.mean(half.predict(world.paths) == full.predict(world.paths)) > 0.9
    half.save(tmp_path / "model")
    again = ManyEyesClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict_proba(world.paths), half.predict_proba(world.paths))
    assert [backbone.precision for backbone in again._built.values()] == ["fp32", "fp32", "bf16"]


# --- choices and weights that are not there


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"zoo": "zoological"}, "'zoological' is no zoo"),
        (
            {"gate": "garden"},
            "'garden' is not one of the gates: choose from cnn32, cnn64, constant, embed",
        ),
        ({"fusion": "cold"}, "'cold' is not one of the fusions"),
        ({"expert": "oracle"}, "'oracle' is not one of the experts"),
        ({"precision": "fp8"}, "'fp8' is not one of the precisions: choose from auto, fp32, bf16"),
        ({"max_rejected": 20}, "between 0 and 1, not 20"),
    ],
)
def test_unknown_choices_are_refused_before_any_photo_is_read(world, monkeypatch, choice, words):
    monkeypatch.setattr(classifier_module, "extract", lambda *given: pytest.fail("photos were read"))
    with pytest.raises((UnknownNameError, ValueError), match=words):
        ManyEyesClassifier(**{"zoo": world.fast_zoo, **choice}).fit(*good(world))


def test_offline_without_weights_names_the_card_and_the_command(world, tmp_path, monkeypatch, online):
    monkeypatch.setenv("MANYEYES_HOME", str(tmp_path))
    first = ZOOS["lite"][0].name
    with pytest.raises(OfflineError, match=rf"the weights of {first} are not .*`manyeyes backbones pull {first}`"):
        ManyEyesClassifier(zoo="lite", offline=True).fit(*good(world))


def test_offline_no_photo_is_read_from_beyond_this_machine(world, online):
    seen = ManyEyesClassifier(zoo=world.fast_zoo, offline=True).look(["s3://bucket/photo.jpg"])
    assert "the network is not allowed" in seen.rejected[0].detail


def test_weights_that_changed_since_training_are_refused(world, tmp_path, monkeypatch):
    from small_world import write_encoder

    net = write_encoder(tmp_path / "net.onnx", 5, size=16, dimension=4)
    monkeypatch.setenv("MANYEYES_HOME", str(tmp_path / "home"))
    model = ManyEyesClassifier(zoo=f"onnx:{net}", gate="uniform").fit(*good(world))
    write_encoder(net, 6, size=16, dimension=4)
    with pytest.raises(BundleError, match="weights of net on this machine are not those the model was trained with"):
        model.predict(world.paths)
    model.fit(*good(world))
    assert len(model.predict(world.paths)) == 36


# --- every combination


GATED = [("mixture", expert, gate) for expert in ("softmax", "kernel-ridge") for gate in GATES.names()]
OTHERS = [(fusion, expert, "cnn32") for fusion in FUSIONS.names() for expert in ("softmax", "kernel-ridge")]


@pytest.mark.parametrize(("fusion", "expert", "gate"), [*GATED, *OTHERS])
def test_every_combination_learns_and_comes_back_from_disk_unchanged(world, tmp_path, fusion, expert, gate):
    model = ManyEyesClassifier(zoo=world.zoo, fusion=fusion, expert=expert, gate=gate).fit(*good(world))
    held_out = sorted(str(path) for path in world.held_out.rglob("*.png"))
    truth = [Path(path).parent.name for path in held_out]
    assert model.score(held_out, truth) >= 0.85
    model.save(tmp_path / "model")
    again = ManyEyesClassifier.load(tmp_path / "model")
    assert again.get_params() == model.get_params()
    assert again.facts_ == model.facts_
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(again.predict_log_proba(held_out), model.predict_log_proba(held_out))
    if fusion == "mixture":
        weights = model.gate_weights(held_out)
        assert weights.shape == (9, 3)
        assert (weights > 0).all()
        np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
        np.testing.assert_array_equal(again.gate_weights(held_out), model.gate_weights(held_out))


def test_copies_of_a_photo_never_stand_on_both_sides_of_a_fold(model, world):
    seen = model.look([*world.paths, world.paths[0]])
    together = seen.together()
    assert together[0] == together[-1]
    assert len(set(together)) == len(world.paths)
    assert model.look(world.paths).together() is None
    assert seen.together(["a"] * len(together)).tolist() == ["a"] * len(together)


def test_a_model_knows_what_it_was_trained_on_even_when_loaded(model, world, tmp_path):
    model.fit(world.paths[::2], world.labels[::2]).save(tmp_path / "model")
    again = ManyEyesClassifier.load(tmp_path / "model")
    assert again.was_trained_on(again.look(world.paths)).tolist() == [True, False] * (len(world.paths) // 2)


def test_a_fit_that_fails_leaves_the_model_as_it_was(model, world, bad):
    model.fit(world.paths, world.labels)
    before = model.predict_proba(world.paths)
    with pytest.raises(TooManyRejectedError):
        model.fit(bad, ["a", "b", "a"])
    assert np.array_equal(model.predict_proba(world.paths), before)
