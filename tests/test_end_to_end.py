"""The main job with real weights on real photos, as a user does it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from manyeyes.cli.main import app

pytestmark = pytest.mark.index

PER_CLASS = 20


def program(*words):
    done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def manyeyes(*words, **environment):
    """The same command in this process, which has imported torch already."""
    done = CliRunner().invoke(app, [*map(str, words)], env=environment)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Twenty of the sample photos for each class to train on, and all that are held out."""
    folder = tmp_path_factory.mktemp("end-to-end")
    manyeyes("samples", "food", "-o", folder / "all")
    shutil.copytree(folder / "all" / "test", folder / "photos" / "test")
    for label in (folder / "all" / "train").iterdir():
        (folder / "photos" / "train" / label.name).mkdir(parents=True)
        for path in sorted(label.iterdir())[:PER_CLASS]:
            shutil.copy(path, folder / "photos" / "train" / label.name)
    return folder / "photos"


def test_photos_in_model_out_and_the_model_is_right_about_photos_it_never_saw(photos, tmp_path):
    model = tmp_path / "model"
    told = program("-m", "manyeyes.cli.main", "fit", photos, "-o", model)
    assert f"Trained on {3 * PER_CLASS} photos, judged on 75 that were held out from training." in told
    for method in ("efficientnet-lite0+softmax", "mobilenet-v2+softmax", "mixture-uniform", "mixture-cnn32", "auto"):
        assert f"\n{method} " in told
    card = (model / "README.md").read_text(encoding="utf-8")
    assert "| pizza | 20 |\n| steak | 20 |\n| sushi | 20 |" in card
    assert "Apache-2.0" in card
    assert "MIT" in card

    judged = json.loads(manyeyes("evaluate", model, photos, "--json", MANYEYES_OFFLINE="1"))
    assert judged["scores"]["fused (auto)"]["photos"] == 75
    assert judged["scores"]["fused (auto)"]["accuracy"] >= 0.85

    some = [min((photos / "test" / label).iterdir(), key=lambda path: path.name) for label in ("pizza", "sushi")]
    said = json.loads(manyeyes("predict", model, "--explain", "--json", *some, MANYEYES_OFFLINE="1"))
    for record in said:
        assert sum(record["probabilities"].values()) == pytest.approx(1)
        assert set(record["votes"][0]["contributions"]) == {"final", "second-order"}
    shown = manyeyes("predict", model, "--explain", *some, MANYEYES_OFFLINE="1")
    assert shown.count("efficientnet-lite0") == len(some)

    # In a process that has never heard of the zoo.
    code = """
import sys
from manyeyes import ManyEyesClassifier
model = ManyEyesClassifier.load(sys.argv[1], offline=True)
print(*model.predict_proba(sys.argv[2:]).ravel().tolist())
"""
    again = program("-c", code, model, *some)
    expected = [value for record in said for value in record["probabilities"].values()]
    assert [float(value) for value in again.split()] == pytest.approx(expected, abs=1e-6)
    assert {part.name for part in Path(model).iterdir()} == {"README.md", "config.json", "model.safetensors"}
