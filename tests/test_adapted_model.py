"""A model whose backbones were adapted: what each photo is learnt from once, and a bundle that is whole by itself."""

import copy
import dataclasses
import json
import pickle
import shutil

import numpy as np
import pytest

from manyeyes import ManyEyesClassifier
from manyeyes.adapt import zoo
from manyeyes.errors import AdaptError, BundleError, ChoiceError, LicenceError
from manyeyes.fusion.mixture import MixtureOfExperts

FAST = {"adapt_size": 32, "adapt_epochs": 1, "engine": "torch", "precision": "fp32"}


@pytest.fixture(scope="module")
def fitted(made_world):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MANYEYES_HOME", str(made_world.home))
        patch.setattr(zoo, "LEAST_STEPS", 1)
        model = ManyEyesClassifier(made_world.zoo.rpartition(",")[2], gate="uniform", fusion="mixture", adapt="norms")
        return model.set_params(**FAST).fit(made_world.paths, made_world.labels)


@pytest.fixture
def folder(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    return tmp_path / "model"


def test_all_photos_are_learnt_from_and_those_judge_that_no_backbone_was_adapted_to(fitted, world, monkeypatch):
    seen = fitted.look(world.paths)
    learnt = fitted._adapted.learnt
    assert fitted.facts_["photos"] == 36
    assert fitted.facts_["adapted"]["photos"] == len(learnt) == 18
    assert fitted.was_trained_on(seen).all()
    assert seen.table.names == ("tiny-adapted",)
    lessons = []
    calibrate = MixtureOfExperts._calibrate
    monkeypatch.setattr(MixtureOfExperts, "_calibrate", lambda *given: lessons.append(given[1]) or calibrate(*given))
    copy.deepcopy(fitted).fit_seen(seen, world.labels)
    assert ((lessons[0].weights > 0) == ~np.isin(seen.photos, learnt)).all()


def test_a_fitted_model_that_is_fitted_anew_forgets_what_it_was_adapted_to(fitted, world):
    model = ManyEyesClassifier(**fitted.get_params()).set_params(adapt=None)
    model._adapted = fitted._adapted
    model.fit(world.paths, world.labels)
    assert [card.name for card in model.cards_] == ["tiny"]
    assert model.facts_["photos"] == 36
    assert not model.is_adapted


def test_what_a_model_is_does_not_follow_its_parameters(fitted, world, tmp_path):
    plain = ManyEyesClassifier(world.fast_zoo, gate="uniform", fusion="mixture").fit(world.paths, world.labels)
    plain.set_params(adapt="norms").save(tmp_path / "plain")
    assert not ManyEyesClassifier.load(tmp_path / "plain").is_adapted
    adapted = copy.deepcopy(fitted).set_params(adapt=None)
    adapted.save(tmp_path / "adapted")
    assert ManyEyesClassifier.load(tmp_path / "adapted").is_adapted


def test_nothing_is_learnt_from_backbones_that_are_yet_to_be_adapted(world):
    tiny = world.zoo.rpartition(",")[2]
    model = ManyEyesClassifier(tiny, gate="uniform", fusion="mixture", adapt="norms", **FAST)
    with pytest.raises(ChoiceError, match="not adapted yet"):
        model.look(world.paths)
    seen = ManyEyesClassifier(tiny, fusion="mixture").look(world.paths)
    with pytest.raises(ChoiceError, match="not adapted yet"):
        model.fit_seen(seen, world.labels)
    with pytest.raises(ChoiceError, match="trained together by fit"):
        model.set_params(training="joint").fit_seen(seen, world.labels)


def test_a_model_between_adapting_and_fitting_can_be_pickled(fitted, world):
    model = pickle.loads(pickle.dumps(fitted))
    model.fit_seen(model.look(world.paths), world.labels)
    np.testing.assert_array_equal(model.predict_proba(world.paths), fitted.predict_proba(world.paths))


def test_adapted_weights_without_a_licence_are_asked_about(fitted, folder, world):
    model = ManyEyesClassifier.load(folder, engine="torch")
    model.cards_ = tuple(dataclasses.replace(card, licence=None) for card in model.cards_)
    assert model.predict(world.paths[:1]).shape == (1,)  # made of a file of the user's own
    model.facts_["adapted"]["from"] = {card.name: "wheel:net==1#weights.pth" for card in model.cards_}
    with pytest.raises(LicenceError, match="--accept-undeclared-licence"):
        model.predict(world.paths[:1])
    assert model.set_params(accept_undeclared_licence=True).predict(world.paths[:1]).shape == (1,)


def test_a_bundle_takes_its_backbones_along(fitted, folder, world, tmp_path, monkeypatch):
    expected = fitted.predict_log_proba(world.paths)
    moved = shutil.move(folder, tmp_path / "elsewhere")
    # Another machine: an empty cache, and nothing where the backbones were made.
    monkeypatch.setenv("MANYEYES_HOME", str(tmp_path / "home"))
    loaded = ManyEyesClassifier.load(moved, offline=True, engine="torch")
    # Looked at anew, in batches of another size perhaps.
    np.testing.assert_allclose(loaded.predict_log_proba(world.paths), expected, atol=1e-5)
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again" / "backbones" / "tiny-adapted.safetensors").is_file()
    loaded.save(moved)  # into the folder that its weights are read from
    again = ManyEyesClassifier.load(moved, offline=True, engine="torch")
    np.testing.assert_allclose(again.predict_log_proba(world.paths), expected, atol=1e-5)


def test_a_bundle_says_nothing_of_the_machine_it_was_made_on(folder, world):
    for name in ("config.json", "README.md"):
        text = (folder / name).read_text()
        assert str(world.home) not in text
    assert "Adapted (norms, at 32 pixels) to 18 of these photos." in text
    assert "| tiny-adapted | adapted from a local file |" in text


@pytest.mark.parametrize("spoil", ["missing", "damaged"])
def test_a_bundle_without_its_backbones_is_refused(folder, spoil):
    weights = folder / "backbones" / "tiny-adapted.safetensors"
    weights.unlink() if spoil == "missing" else weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(BundleError, match=r"tiny-adapted\.safetensors is missing or not the file"):
        ManyEyesClassifier.load(folder)


def test_a_forged_card_cannot_lead_out_of_the_bundle(folder, tmp_path):
    from manyeyes import bundle

    config = json.loads((folder / "config.json").read_text())
    del config["config_sha256"]
    config["cards"][0]["source"] = f"local:{tmp_path / 'theirs.safetensors'}"
    config["config_sha256"] = bundle._checksum(config)
    (folder / "config.json").write_text(json.dumps(config))
    (card,) = ManyEyesClassifier.load(folder).cards_
    assert card.where == str(folder / "backbones" / "tiny-adapted.safetensors")


def test_an_empty_folder_gets_the_backbones_too(fitted, tmp_path, world):
    (tmp_path / "empty").mkdir()
    fitted.save(tmp_path / "empty")
    assert sorted(path.name for path in (tmp_path / "empty").iterdir()) == sorted(
        ["README.md", "backbones", "config.json", "model.safetensors"]
    )
    assert ManyEyesClassifier.load(tmp_path / "empty", engine="torch").predict(world.paths[:1]).shape == (1,)
    fitted.save(tmp_path / "empty")  # a bundle is replaced by a bundle


@pytest.mark.parametrize("adapted", [True, False])
def test_what_somebody_else_keeps_among_the_backbones_is_not_deleted(fitted, folder, world, tmp_path, adapted):
    if not adapted:
        plain = ManyEyesClassifier(world.fast_zoo, gate="uniform", fusion="mixture").fit(world.paths, world.labels)
        folder = tmp_path / "plain"
        plain.save(folder)
        (folder / "backbones").mkdir()
    (folder / "backbones" / "thesis.txt").write_text("years of work")
    with pytest.raises(BundleError, match="holds other files than a manyeyes bundle"):
        fitted.save(folder)
    assert (folder / "backbones" / "thesis.txt").read_text() == "years of work"


def test_a_hidden_folder_that_is_called_like_the_bundle_is_no_leftover_of_ours(fitted, tmp_path):
    own = tmp_path / "model" / ".model-notes"
    own.mkdir(parents=True)
    (own / "thesis.txt").write_text("years of work")
    with pytest.raises(BundleError, match="holds other files than a manyeyes bundle"):
        fitted.save(tmp_path / "model")
    assert (own / "thesis.txt").read_text() == "years of work"


def test_copies_of_a_bundle_share_the_weights_in_the_cache(folder, world, tmp_path, monkeypatch):
    monkeypatch.setenv("MANYEYES_HOME", str(tmp_path / "home"))
    for name in ("one", "two"):
        shutil.copytree(folder, tmp_path / name)
        ManyEyesClassifier.load(tmp_path / name, engine="torch").predict(world.paths[:1])
    assert len([path for path in (tmp_path / "home" / "weights").iterdir() if path.is_dir()]) == 1


def test_choices_are_told_before_any_work(world):
    with pytest.raises(AdaptError, match="no torch network"):
        ManyEyesClassifier(world.zoo, adapt="parallel").check_choices()
    tiny = world.zoo.rpartition(",")[2]
    with pytest.raises(ChoiceError, match="leave out the label space"):
        ManyEyesClassifier(
            tiny, fusion="mixture", training="joint", label_space="random", adapt="parallel"
        ).check_choices()
    with pytest.raises(ChoiceError, match="choices of the fusion 'mixture'"):
        ManyEyesClassifier(tiny, training="joint", adapt="parallel").check_choices()
