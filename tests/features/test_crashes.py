"""Processes that are killed, run out of disk, or share a store: what is stored is right, and nothing is done twice."""

import os
import random
import resource
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from child import Child

from manyeyes.backbones.backbone import Backbone
from manyeyes.errors import StoreError
from manyeyes.features.shelf import ABANDONED_AFTER_SECONDS
from manyeyes.features.store import FeatureStore

from .stored import CHUNK, check_equal, check_stored, run, shards, spaces, wait_for_shards

pytestmark = pytest.mark.usefixtures("same_chunks")


def run_slowly(paths: list[str], backbones: list[Backbone], root: Path, answer: Connection) -> None:
    """Each shard lies about half done for a while. Answers with the table."""
    fsync = os.fsync
    os.fsync = lambda file: (time.sleep(0.003), fsync(file))[1]
    answer.send("ready")
    answer.recv()
    answer.send(run(paths, backbones, root).table)


def run_until_file(paths: list[str], backbones: list[Backbone], root: Path, stop: int, answer: Connection) -> None:
    """Stays in the middle of the file of that number, and answers when it is there."""
    written = []

    def stay(file: int) -> None:
        written.append(file)
        if len(written) == stop:
            answer.send("here")
            time.sleep(60)

    os.fsync = stay
    run(paths, backbones, root)


def run_until_the_disk_is_full(paths: list[str], backbones: list[Backbone], root: Path, answer: Connection) -> None:
    """After twenty files no other can be written to its end. Answers with the error's words."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    fsync, written = os.fsync, []

    def fill_up(file: int) -> None:
        fsync(file)
        written.append(file)
        if len(written) == 20:
            resource.setrlimit(resource.RLIMIT_FSIZE, (500, resource.RLIM_INFINITY))

    os.fsync = fill_up
    try:
        run(paths, backbones, root)
    except StoreError as error:
        answer.send(str(error))


@pytest.mark.parametrize("seed", [0, 1])
def test_killed_again_and_again_it_loses_nothing_that_was_finished(paths, keys, backbones, truth, root, seed):
    chance = random.Random(seed)
    finished: set[str] = set()
    for target in sorted(chance.sample(range(1, 60), 3)):
        child = Child(run_slowly, paths, backbones, root)
        child.pipe.send("go")
        wait_for_shards(root, target, child)
        time.sleep(chance.uniform(0, 0.01))
        child.kill()

        before, finished = finished, check_stored(root, keys, backbones, truth)
        assert before <= finished
    assert 0 < len(finished) < len(keys)

    last = run(paths, backbones, root)
    assert last.computed == len(keys) - len(finished)
    check_equal(last.table, truth, backbones)
    assert check_stored(root, keys, backbones, truth) == set(keys)


@pytest.mark.parametrize("file", [1, 2, 7], ids=["a record", "a first shard", "a later shard"])
def test_what_a_killed_process_leaves_behind_can_be_pruned(paths, keys, backbones, truth, root, file):
    child = Child(run_until_file, paths, backbones, root, file)
    child.pipe.recv()
    child.kill()
    (left,) = root.rglob(".writing-*")
    check_stored(root, keys, backbones, truth)

    run(paths[:CHUNK], backbones, root)  # a folder without a record is nobody's until one is written
    store, size = FeatureStore(root), left.stat().st_size
    assert store.prune() == 0
    assert left.exists()
    os.utime(left, (time.time() - 2 * ABANDONED_AFTER_SECONDS,) * 2)
    assert store.prune() == size > 0
    assert not left.exists()
    check_stored(root, keys, backbones, truth)


def test_on_a_full_disk_finished_work_is_kept_and_nothing_half_done_stays(paths, keys, backbones, truth, root):
    child = Child(run_until_the_disk_is_full, paths, backbones, root)
    message = child.pipe.recv()
    assert child.end() == 0
    assert "\n" not in message
    assert message.startswith(f"features cannot be written to {root}")
    assert "File too large; all finished work is kept: make room (`manyeyes features prune`)" in message
    assert not list(root.rglob(".writing-*"))
    finished = check_stored(root, keys, backbones, truth)
    assert 0 < len(finished) < len(keys)
    # Twenty files, of which the first of each space is its record.
    assert len(shards(root)) == 20 - len(spaces(backbones))

    last = run(paths, backbones, root)
    assert last.computed == len(keys) - len(finished)
    check_equal(last.table, truth, backbones)


def test_two_processes_fill_one_store_together(paths, keys, backbones, truth, root):
    children = [Child(run_slowly, paths, backbones, root) for _ in range(2)]
    for child in children:
        assert child.pipe.recv() == "ready"
    for child in children:
        child.pipe.send("go")
    tables = [child.pipe.recv() for child in children]
    assert [child.end() for child in children] == [0, 0]
    for table in tables:
        check_equal(table, truth, backbones)
    assert check_stored(root, keys, backbones, truth) == set(keys)
    assert not list(root.rglob(".writing-*"))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_of_two_writers_one_is_killed_and_the_other_ends_as_if_alone(paths, keys, backbones, truth, root, seed):
    chance = random.Random(seed)
    victim, survivor = children = [Child(run_slowly, paths, backbones, root) for _ in range(2)]
    for child in children:
        assert child.pipe.recv() == "ready"
    for child in children:
        child.pipe.send("go")
    wait_for_shards(root, chance.randrange(1, 50), victim)
    time.sleep(chance.uniform(0, 0.01))
    victim.kill()
    table = survivor.pipe.recv()
    assert survivor.end() == 0
    check_equal(table, truth, backbones)
    assert check_stored(root, keys, backbones, truth) == set(keys)
