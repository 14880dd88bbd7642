"""Disks that are really full or really read-only: small file systems that a child mounts for itself alone."""

import shutil
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from child import Child
from own_mounts import make_read_only, mount_small_disk, needs_mounts

from manyeyes.backbones.backbone import Backbone
from manyeyes.errors import StoreError

from .stored import check_equal, check_stored, run, shards, spaces

pytestmark = [pytest.mark.usefixtures("same_chunks"), needs_mounts]


def fill_a_small_disk(
    paths: list[str], backbones: list[Backbone], root: Path, size: int, kept: Path, answer: Connection
) -> None:
    """Answers with the error's words, and saves what the disk of ``size`` bytes holds before it goes with the child."""
    root.mkdir()
    mount_small_disk(root, size)
    try:
        run(paths, backbones, root)
        answer.send("no error")
    except StoreError as error:
        answer.send(str(error))
    shutil.copytree(root, kept)


def run_read_only(paths: list[str], backbones: list[Backbone], root: Path, answer: Connection) -> None:
    """Answers with the table and how many photos were looked at, or with the error's words."""
    make_read_only(root)
    try:
        extraction = run(paths, backbones, root)
        answer.send((extraction.table, extraction.computed))
    except StoreError as error:
        answer.send(str(error))


@pytest.mark.parametrize("share", [0.1, 0.35, 0.6, 0.99])
def test_on_a_full_disk_finished_work_is_kept(paths, keys, backbones, truth, root, tmp_path, share, whole):
    kept = tmp_path / "kept"
    child = Child(fill_a_small_disk, paths, backbones, root, int(share * whole), kept)
    message = child.pipe.recv()
    assert child.end() == 0
    assert "\n" not in message
    assert message.startswith(f"features cannot be written to {root}")
    assert "No space left on device; all finished work is kept: make room (`manyeyes features prune`)" in message
    assert not list(kept.rglob(".writing-*"))
    finished = check_stored(kept, keys, backbones, truth)
    # A disk is filled in units of pages; the shards that lie on it are all but that many of those that would fit.
    assert len(finished) / len(keys) == pytest.approx(share, abs=0.1)

    last = run(paths, backbones, kept)
    assert last.computed == len(keys) - len(finished)
    check_equal(last.table, truth, backbones)


@pytest.fixture(scope="module")
def whole(many_photos, prepared, tmp_path_factory) -> int:
    """How many bytes a disk must have that a whole run fills: files lie in pages of 4096."""
    root = tmp_path_factory.mktemp("whole")
    run(many_photos, list(prepared.values()), root)
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in root.rglob("*") if path.is_file())


def test_a_read_only_store_gives_what_it_holds(paths, backbones, truth, root):
    run(paths, backbones, root)
    child = Child(run_read_only, paths, backbones, root)
    table, computed = child.pipe.recv()
    assert child.end() == 0
    assert computed == 0
    check_equal(table, truth, backbones)


def test_a_read_only_store_is_named_when_something_must_be_added(paths, keys, backbones, truth, root):
    run(paths[:80], backbones, root)
    before = {path: path.read_bytes() for path in shards(root)}
    child = Child(run_read_only, paths, backbones, root)
    message = child.pipe.recv()
    assert child.end() == 0
    assert "\n" not in message
    assert message.startswith(f"features cannot be written to {root}")
    assert "Read-only file system" in message
    assert "set MANYEYES_HOME to another disk" in message
    assert {path: path.read_bytes() for path in shards(root)} == before
    assert check_stored(root, keys, backbones, truth) == set(keys[:80])


def test_damage_in_a_read_only_store_is_never_returned(paths, keys, backbones, root):
    run(paths[:80], backbones, root)
    for folder in (root / space.folder for space in spaces(backbones)):
        shard = min(folder.glob("shard-*"))
        data = bytearray(shard.read_bytes())
        data[len(data) // 2] ^= 1
        shard.write_bytes(data)
    child = Child(run_read_only, paths[:80], backbones, root)
    assert "Read-only file system" in child.pipe.recv()
    assert child.end() == 0
