"""Processes that are killed, run out of disk, or share a store: what is stored is right, and nothing is done twice."""

import copy
import hashlib
import multiprocessing
import os
import random
import resource
import signal
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from manyeyes.backbones.backbone import Backbone
from manyeyes.errors import StoreError
from manyeyes.features import pipeline
from manyeyes.features.extract import Extraction, extract
from manyeyes.features.space import THUMBNAILS, Space, embedding_space
from manyeyes.features.store import ABANDONED_AFTER_SECONDS, FeatureStore
from manyeyes.features.table import FeatureTable

PHOTOS = 200
# Chunks begin at the same photos in every run, so that the batches, and thus the last bits, are the same.
CHUNK = 8

# A server that imported torch once forks the processes; forking pytest itself would copy its threads' locks.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["pytest", "manyeyes.backbones.timm_import", "manyeyes.features.extract"])


def run(paths: list[str], backbones: list[Backbone], root: Path) -> Extraction:
    pipeline.CHUNK = CHUNK
    return extract(paths, backbones, FeatureStore(root))


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


class Child:
    """A process, and the near end of its pipe."""

    def __init__(self, target, *args: object) -> None:
        self.pipe, far = processes.Pipe()
        self.process = processes.Process(target=target, args=(*args, far))
        self.process.start()
        far.close()

    def end(self) -> int:
        """Waits for it; its exit code."""
        self.process.join(60)
        code = self.process.exitcode
        self.process.close()
        self.pipe.close()
        return code


@pytest.fixture(autouse=True, scope="module")
def chunk() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "CHUNK", CHUNK)
        yield


@pytest.fixture(scope="module")
def paths(many_photos: list[str]) -> list[str]:
    return many_photos


@pytest.fixture(scope="module")
def keys(paths: list[str]) -> list[str]:
    hashes = [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths]
    assert len(set(hashes)) == PHOTOS
    return hashes


@pytest.fixture(scope="module")
def truth(paths: list[str], prepared: dict[str, Backbone], tmp_path_factory: pytest.TempPathFactory) -> FeatureTable:
    """What an uninterrupted run gives."""
    backbones = [copy.copy(backbone) for backbone in prepared.values()]
    return run(paths, backbones, tmp_path_factory.mktemp("truth")).table


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "features"


def spaces(backbones: list[Backbone]) -> list[Space]:
    return [THUMBNAILS, *(embedding_space(backbone) for backbone in backbones)]


def shards(root: Path) -> list[Path]:
    return list(root.rglob("shard-*"))


def columns(table: FeatureTable, space: Space) -> dict[str, np.ndarray]:
    if space == THUMBNAILS:
        return {"pixels": table.thumbnails}
    top = table.source_labels.get(space.name)
    labels = {} if top is None else {"label_index": top.index, "label_probability": top.probability}
    return {"h": table.blocks[space.name], **labels}


def check_stored(root: Path, keys: list[str], backbones: list[Backbone], truth: FeatureTable) -> set[str]:
    """All that the store holds is true to the bit. Gives the photos that every space holds."""
    store, finished = FeatureStore(root), set(keys)
    for space in spaces(backbones):
        missing = set(store.missing(space, keys))
        held = [row for row, key in enumerate(keys) if key not in missing]
        if held:
            found = store.read(space, [keys[row] for row in held])
            expected = columns(truth, space)
            assert found.keys() == expected.keys()
            for name, values in found.items():
                np.testing.assert_array_equal(values, expected[name][held])
        finished -= missing
    assert not list(root.rglob("*.damaged"))
    return finished


def check_equal(found: FeatureTable, truth: FeatureTable, backbones: list[Backbone]) -> None:
    for space in spaces(backbones):
        expected = columns(truth, space)
        for name, values in columns(found, space).items():
            np.testing.assert_array_equal(values, expected[name])


@pytest.mark.parametrize("seed", [0, 1])
def test_killed_again_and_again_it_loses_nothing_that_was_finished(paths, keys, backbones, truth, root, seed):
    chance = random.Random(seed)
    finished: set[str] = set()
    for target in sorted(chance.sample(range(1, 60), 3)):
        child = Child(run_slowly, paths, backbones, root)
        child.pipe.send("go")
        while len(shards(root)) < target:
            assert child.process.is_alive()
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.01))
        child.process.kill()
        assert child.end() == -signal.SIGKILL

        before, finished = finished, check_stored(root, keys, backbones, truth)
        assert before <= finished
    assert 0 < len(finished) < PHOTOS

    last = run(paths, backbones, root)
    assert last.computed == PHOTOS - len(finished)
    check_equal(last.table, truth, backbones)
    assert check_stored(root, keys, backbones, truth) == set(keys)


@pytest.mark.parametrize("file", [1, 2, 7], ids=["a record", "a first shard", "a later shard"])
def test_what_a_killed_process_leaves_behind_can_be_pruned(paths, keys, backbones, truth, root, file):
    child = Child(run_until_file, paths, backbones, root, file)
    child.pipe.recv()
    child.process.kill()
    assert child.end() == -signal.SIGKILL
    (left,) = root.rglob(".writing-*")
    check_stored(root, keys, backbones, truth)

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
    assert 0 < len(finished) < PHOTOS
    # Twenty files, of which the first of each space is its record.
    assert len(shards(root)) == 20 - len(spaces(backbones))

    last = run(paths, backbones, root)
    assert last.computed == PHOTOS - len(finished)
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
