"""The mixture's choices on their way: from the command line and the classifier into a model, a bundle, and back."""

import json
from typing import Any

import numpy as np
import pytest

from manyeyes import ManyEyesClassifier
from manyeyes.errors import ChoiceError, OfflineError, UnknownNameError

JOINT = {"training": "joint", "label_space": "random", "train_label_space": True}


@pytest.mark.parametrize("choices", [{"label_space": "random"}, JOINT, {**JOINT, "training": "warm-joint"}])
def test_a_bundle_brings_back_experts_gate_and_label_space(world: Any, tmp_path: Any, choices: dict[str, Any]) -> None:
    model = ManyEyesClassifier(zoo=world.zoo, gate="embedding", fusion="mixture", **choices)
    model.fit(world.paths, world.labels)
    assert model.fusion_.labelled_ == ["tiny"]
    model.save(tmp_path / "model")
    back = ManyEyesClassifier.load(tmp_path / "model")
    assert {name: getattr(back, name) for name in choices} == choices
    held_out = [str(path) for path in sorted(world.held_out.glob("*/*.png"))]
    assert np.array_equal(back.predict_proba(held_out), model.predict_proba(held_out))
    np.testing.assert_allclose(back.gate_weights(held_out).sum(axis=1), 1, atol=1e-5)


def test_the_command_line_passes_them_on_and_experts_are_judged_alone(world: Any, tmp_path: Any) -> None:
    from typer.testing import CliRunner

    from manyeyes.cli.main import app

    def run(*words: object) -> str:
        result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    words = ["--fusion", "mixture", "--gate", "embedding", "--training", "joint", "--label-space", "random"]
    model = tmp_path / "model"
    run("fit", world.photos, "-o", model, "--zoo", world.zoo, *words, "--train-label-space", "--no-compare")
    parameters = dict(json.loads((model / "config.json").read_text())["parameters"]["dict"])
    assert {name: parameters[name] for name in JOINT} == JOINT
    judged = json.loads(run("evaluate", model, world.held_out, "--json"))
    assert list(judged["scores"]) == ["tint", "edges", "tiny", "fused (mixture)"]
    photo = next(world.held_out.glob("*/*.png"))
    (said,) = json.loads(run("predict", model, "--explain", "--json", photo))
    assert sum(vote["weight"] for vote in said["votes"]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("choices", "error", "words"),
    [
        ({"fusion": "mixture", "training": "slow"}, UnknownNameError, "staged, joint, warm-joint"),
        ({"fusion": "mixture", "label_space": "glove-51d"}, UnknownNameError, "random, glove-50d, wink-100d"),
        ({"fusion": "mixture", "label_space": "glove-50d"}, OfflineError, "word vectors glove-50d are not on this"),
        ({"fusion": "mixture", "train_label_space": True}, ChoiceError, "wants a label_space"),
        ({"fusion": "stacking", "label_space": "random"}, ChoiceError, "choices of the fusion 'mixture'"),
    ],
)
def test_what_cannot_be_is_said_before_any_photo_is_looked_at(
    world: Any, choices: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        ManyEyesClassifier(zoo=world.zoo, **choices).fit(["no-such-photo.jpg"] * 2, ["a", "b"])


def test_offline_no_word_vectors_are_fetched(world: Any, online: None) -> None:
    model = ManyEyesClassifier(zoo=world.zoo, fusion="mixture", label_space="wink-100d", offline=True)
    with pytest.raises(OfflineError, match="wink-100d"):
        model.fit(world.paths, world.labels)
