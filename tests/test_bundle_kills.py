"""Saving a bundle, killed at each of its steps or on a full disk: what is there is the older one, the newer or none."""

import shutil
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from child import Child, stay_before_change
from own_mounts import make_read_only, mount_small_disk, needs_mounts

from manyeyes import ManyEyesClassifier
from manyeyes.errors import BundleError


@pytest.fixture(scope="module")
def bundles(made_world, tmp_path_factory) -> dict[str, Path]:
    """One with the gate "uniform", the older, and one with the gate "constant"."""
    folder = tmp_path_factory.mktemp("bundles")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MANYEYES_HOME", str(made_world.home))
        for gate in ("uniform", "constant"):
            model = ManyEyesClassifier(zoo=made_world.fast_zoo, fusion="mixture", gate=gate)
            model.fit(made_world.paths, made_world.labels).save(folder / gate)
    return {gate: folder / gate for gate in ("uniform", "constant")}


def save_until_step(newer: Path, target: Path, step: int, answer: Connection) -> None:
    model = ManyEyesClassifier.load(newer)
    stay_before_change(step, answer)
    model.save(target)
    answer.send("saved")


def prepare_older(bundles: dict[str, Path], target: Path) -> None:
    shutil.copytree(bundles["uniform"], target)


def prepare_empty(bundles: dict[str, Path], target: Path) -> None:
    target.mkdir()


def prepare_nothing(bundles: dict[str, Path], target: Path) -> None:
    pass


@pytest.mark.parametrize("prepare", [prepare_older, prepare_empty, prepare_nothing])
def test_killed_at_any_step_it_leaves_a_whole_bundle_or_none(bundles, tmp_path, prepare):
    found, newer = [], ManyEyesClassifier.load(bundles["constant"])
    said, step = "here", 0
    while said == "here":
        step += 1
        target = tmp_path / str(step) / "model"
        target.parent.mkdir()
        prepare(bundles, target)
        child = Child(save_until_step, bundles["constant"], target, step)
        said = child.pipe.recv()
        child.process.kill()
        child.end()  # which the last one may have reached by itself
        try:
            found.append(ManyEyesClassifier.load(target).gate)
        except BundleError as error:
            assert "\n" not in str(error)
            assert str(target) in str(error)
            found.append("none")
        # Doing it again is all that it takes.
        newer.save(target)
        assert ManyEyesClassifier.load(target).gate == "constant"
        assert sorted(path.name for path in target.iterdir()) == ["README.md", "config.json", "model.safetensors"]
        assert not list(target.parent.glob(".model-older-*"))
    before = "uniform" if prepare is prepare_older else "none"
    last = found.count("constant")
    assert last > 0
    assert found == [before] * (step - last) + ["constant"] * last
    assert step > 10


def save_on_a_small_disk(newer: Path, target: Path, older: Path, answer: Connection) -> None:
    """Answers with the error for each room that the disk leaves, and in the end with the older bundle's gate."""
    model = ManyEyesClassifier.load(newer)
    room = sum(path.stat().st_size for path in older.iterdir())
    mount_small_disk(target.parent, 16 * (room + 64 * 1024))
    shutil.copytree(older, target)
    filling, free = target.parent / "filling", shutil.disk_usage(target.parent).free
    for share in (0, 0.25, 0.5, 0.75, 0.9):
        filling.write_bytes(bytes(int(free - share * room)))
        try:
            model.save(target)
            answer.send("no error")
        except BundleError as error:
            answer.send(str(error))
        filling.unlink()
        assert sorted(path.name for path in target.parent.iterdir()) == ["model"]
    answer.send(ManyEyesClassifier.load(target).gate)
    answer.send(None)


@needs_mounts
def test_on_a_full_disk_the_older_bundle_stays(bundles, tmp_path):
    target = tmp_path / "small" / "model"
    target.parent.mkdir()
    child = Child(save_on_a_small_disk, bundles["constant"], target, bundles["uniform"])
    *errors, gate = iter(child.pipe.recv, None)
    assert child.end() == 0
    assert gate == "uniform"
    assert len(errors) == 5
    for error in errors:
        assert error.startswith(f"the bundle {target} cannot be written: ")
        assert "No space left on device" in error
        assert "\n" not in error


def save_read_only(newer: Path, target: Path, answer: Connection) -> None:
    model = ManyEyesClassifier.load(newer)
    make_read_only(target.parent)
    try:
        model.save(target)
        answer.send("no error")
    except BundleError as error:
        answer.send(str(error))
    answer.send(ManyEyesClassifier.load(target).gate)


@needs_mounts
def test_a_read_only_folder_keeps_its_bundle(bundles, tmp_path):
    target = tmp_path / "model"
    shutil.copytree(bundles["uniform"], target)
    child = Child(save_read_only, bundles["constant"], target)
    assert child.pipe.recv() == f"no bundle can be written to {target}: Read-only file system"
    assert child.pipe.recv() == "uniform"
    assert child.end() == 0
