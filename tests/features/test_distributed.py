"""Extraction by a real Ray cluster of two workers, one of which is killed while it looks."""

import os
import re
import signal
import tempfile
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from manyeyes.backbones.backbone import Backbone
from manyeyes.errors import PlaceError, StoreError
from manyeyes.features.distributed import Held, fill_store_with_ray
from manyeyes.features.extract import extract, spaces_of
from manyeyes.features.eyes import Eyes
from manyeyes.features.space import THUMBNAILS, Space
from manyeyes.features.store import FeatureStore

# Not imported here: what Ray reads from the environment when it is imported is part of what is tested.
pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")


def kill_one_that_looks(folder: Path, killed: list[int], heard_at: list[str], over: threading.Event) -> None:
    """Kill a worker in the middle of a batch: one that was stopped there, and then is still there."""
    while not killed and not over.is_set():
        time.sleep(0.001)
        for spool in folder.glob("manyeyes-ray-*/manyeyes-*"):
            worker = int(re.match(r"manyeyes-(\d+)-", spool.name)[1])
            os.kill(worker, signal.SIGSTOP)
            if spool.exists():
                heard_at += listening(worker)
                os.kill(worker, signal.SIGKILL)
                killed.append(worker)
                return
            os.kill(worker, signal.SIGCONT)


def listening(process: int) -> list[str]:
    """The addresses at which a process can be reached, as Linux writes them."""
    own = {str(file.readlink()) for file in Path(f"/proc/{process}/fd").iterdir()}
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    return [line[1].partition(":")[0] for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in own]


def test_a_worker_that_is_killed_costs_nothing(prepared: dict[str, Backbone], many_photos, tmp_path, monkeypatch):
    broken, missing = tmp_path / "broken.jpg", tmp_path / "gone.jpg"
    broken.write_bytes(b"\xff\xd8\xff no more")
    paths = [*many_photos[:90], str(broken), *many_photos[90:180], f"file://{missing}", f"file://{many_photos[0]}"]
    eyes = Eyes(tuple(backbone.card for backbone in prepared.values()), ("final",))
    backbones = eyes.load()
    local = extract(paths, backbones, FeatureStore(tmp_path / "local"))

    with tempfile.TemporaryDirectory() as folder:  # tmp_path is too long for Ray's sockets
        monkeypatch.setattr(tempfile, "tempdir", folder)
        killed, heard_at, over = [], [], threading.Event()
        killer = threading.Thread(target=kill_one_that_looks, args=(Path(folder), killed, heard_at, over))
        killer.start()
        store = FeatureStore(f"file://{tmp_path}/by ray")
        filling = fill_store_with_ray(paths, eyes, store, cores=2)
        over.set()
        killer.join()
        assert not list(Path(folder).iterdir())
    assert len(killed) == 1
    # 127.0.0.1, nothing that other machines could reach.
    assert heard_at and set(heard_at) <= {"0100007F", "0000000000000000FFFF00000100007F"}
    assert filling.photos == local.photos
    assert filling.rejected == local.rejected
    assert [Path(one.path).name for one in filling.rejected] == ["broken.jpg", "gone.jpg"]
    assert filling.computed == 180
    for space in (*spaces_of(backbones).values(), THUMBNAILS):
        assert store.missing(space, filling.photos) == []
    by_ray = extract(paths, backbones, store)
    assert by_ray.computed == 0
    np.testing.assert_array_equal(by_ray.table.thumbnails, local.table.thumbnails)
    for name, block in local.table.blocks.items():
        # Not to the bit: a net rounds differently in batches of another size.
        np.testing.assert_allclose(by_ray.table.blocks[name], block, atol=1e-5)
        assert np.abs(np.diff(block, axis=0)).max(axis=1).min() > 1e-3  # no photo is like the next
    top, expected = by_ray.table.source_labels["resnet"], local.table.source_labels["resnet"]
    np.testing.assert_allclose(top.probability, expected.probability, atol=1e-5)


def test_an_error_of_a_worker_is_told_as_it_was(prepared, many_photos, tmp_path):
    eyes = Eyes(tuple(backbone.card for backbone in prepared.values()), ("final",))
    (tmp_path / "file").touch()
    with pytest.raises(
        StoreError, match=r"^features cannot be written to .*Not a directory; all finished work is kept"
    ):
        fill_store_with_ray(many_photos[:20], eyes, FeatureStore(tmp_path / "file" / "features"), cores=1)


def test_a_cluster_that_is_not_there(prepared, many_photos, tmp_path):
    eyes = Eyes(tuple(backbone.card for backbone in prepared.values()), ("final",))
    with pytest.raises(PlaceError, match=r"^no Ray cluster answers at 127.0.0.1:9: Connection refused"):
        fill_store_with_ray(many_photos[:2], eyes, FeatureStore(tmp_path), "127.0.0.1:9")


def test_held_tells_what_each_space_lacks(tmp_path):
    store, a, b = FeatureStore(tmp_path), Space("a", {}), Space("b", {})
    # Zeros at the end, where numpy ends a string of bytes.
    photos = ["01" * 32, "02" * 31 + "00", "00" * 32, "ff" * 32]
    for space, held in ((a, photos[:3]), (b, photos[2:])):
        store.write(space, held, {"h": np.ones((len(held), 1), np.float32)})
    held = Held(store, [a, b])
    asked = [photos[3], photos[1], photos[0], photos[2], "03" * 32]
    assert held.missing(a, asked) == [photos[3], "03" * 32]
    assert held.missing(b, asked) == [photos[1], photos[0], "03" * 32]
    assert held.missing(THUMBNAILS, asked) == asked
    assert held.missing(a, []) == []
