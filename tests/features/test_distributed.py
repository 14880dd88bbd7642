"""Extraction by a real Ray cluster of two workers, one of which is killed while it looks."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from subprocess import DEVNULL, PIPE

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from manyeyes.backbones.backbone import Backbone
from manyeyes.errors import ClusterError, StoreError
from manyeyes.features.cluster import Workers, import_ray
from manyeyes.features.distributed import Held, fill_store_with_ray, take
from manyeyes.features.extract import extract, spaces_of
from manyeyes.features.eyes import Eyes
from manyeyes.features.space import THUMBNAILS, Space
from manyeyes.features.store import FeatureStore

# Not imported here: what Ray reads from the environment when it is imported is part of what is tested.
pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")


@pytest.fixture(scope="module", autouse=True)
def ray_of_ours() -> None:
    """Whichever of these tests comes first in a process, Ray is imported as for a cluster of our own.

    Imported to join another's, it would look for what listens at 127.0.0.1 at this machine's other address.
    """
    import_ray(is_private=True)


def kill_one_that_looks(folder: Path, killed: list[int], heard_at: list[str], over: threading.Event) -> None:
    """Kill a worker in the middle of a batch: one that was stopped there, and then is still there."""
    while not killed and not over.is_set():
        time.sleep(0.001)
        for spool in folder.glob("manyeyes-*/manyeyes-*"):
            worker = int(re.match(r"manyeyes-(\d+)-", spool.name)[1])
            os.kill(worker, signal.SIGSTOP)
            if spool.exists():
                heard_at += listening(worker)
                os.kill(worker, signal.SIGKILL)
                killed.append(worker)
                return
            os.kill(worker, signal.SIGCONT)


def kill_all_that_look(folder: Path, over: threading.Event) -> None:
    while not over.wait(0.01):
        for spool in folder.glob("manyeyes-*"):
            with suppress(ProcessLookupError):
                os.kill(int(spool.name.split("-")[1]), signal.SIGKILL)


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

    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # tmp_path is too long for Ray's sockets
        monkeypatch.setattr(tempfile, "tempdir", folder)
        killed, heard_at, over = [], [], threading.Event()
        killer = threading.Thread(target=kill_one_that_looks, args=(Path(folder), killed, heard_at, over))
        killer.start()
        store = FeatureStore(f"file://{tmp_path}/by ray")
        filling = fill_store_with_ray(paths, eyes, backbones, store, cores=2)
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
        # 184 paths in batches of 23, each written together; of the one that was killed a part may be there twice.
        assert len(list((tmp_path / "by ray" / space.folder).glob("shard-*"))) in (8, 9)
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


RUN_A_CLUSTER = """
import ray, sys
context = ray.init("local", num_cpus=1, include_dashboard=False, _temp_dir=sys.argv[1])
print(context.address_info["gcs_address"], flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Cluster:
    """One that runs already, on one core. Its workers work in the folder "/", and fetch to ``folder``."""

    address: str
    folder: Path


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        command = [sys.executable, "-c", RUN_A_CLUSTER, folder]
        own = os.environ | {"TMPDIR": folder, "MANYEYES_HOME": f"{folder}/home"}
        with subprocess.Popen(command, cwd="/", env=own, stdin=PIPE, stdout=PIPE, stderr=DEVNULL) as child:
            yield Cluster(child.stdout.readline().decode().strip(), Path(folder))
            child.stdin.close()


def test_workers_work_in_another_folder_and_stay_offline(prepared, many_photos, cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(Path(many_photos[0]).parent)
    paths = ["000.png", "gone.jpg", "./001.png", "s3://bucket/photo.jpg"]
    eyes = Eyes(tuple(backbone.card for backbone in prepared.values()), ("final",))
    backbones = eyes.load()
    store = FeatureStore(os.path.relpath(tmp_path / "features"))
    filling = fill_store_with_ray(paths, eyes, backbones, store, cluster.address)
    assert filling.computed == len(filling.photos) == 2
    assert [one.path for one in filling.rejected] == ["gone.jpg", "s3://bucket/photo.jpg"]
    assert "the network is not allowed" in filling.rejected[1].detail
    assert extract(paths, backbones, FeatureStore(tmp_path / "features")).computed == 0


def test_an_error_of_a_worker_is_told_as_it_was(prepared, many_photos, cluster, tmp_path):
    weights = tmp_path / "weights.safetensors"
    shutil.copy(prepared["resnet"].card.where, weights)
    eyes = Eyes((replace(prepared["resnet"].card, source=f"local:{weights}"),), ("final",))
    backbones = eyes.load()
    save_file({name: values + 1 for name, values in load_file(weights).items()}, weights)
    with pytest.raises(StoreError, match=r"^a machine of the cluster has other weights, or another manyeyes, than"):
        fill_store_with_ray(many_photos[:20], eyes, backbones, FeatureStore(tmp_path / "features"), cluster.address)


def test_workers_that_die_again_and_again(prepared, many_photos, cluster, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("manyeyes.features.distributed.RETRIES", 1)
    eyes = Eyes(tuple(backbone.card for backbone in prepared.values()), ("final",))
    backbones, store = eyes.load(), FeatureStore(tmp_path / "features")
    over = threading.Event()
    killer = threading.Thread(target=kill_all_that_look, args=(cluster.folder, over))
    killer.start()
    try:
        with pytest.raises(ClusterError) as error:
            fill_store_with_ray(many_photos[:20], eyes, backbones, store, cluster.address)
    finally:
        over.set()
        killer.join()
    assert str(error.value).startswith(
        f"workers of the Ray cluster died again and again while they looked at {many_photos[0]} … {many_photos[15]} "
    )
    assert "All finished work is kept." in str(error.value)
    assert capsys.readouterr().out == ""


def test_a_cluster_that_is_not_there(monkeypatch):
    with pytest.raises(ClusterError, match=r"^no Ray cluster answers at 127.0.0.1:9: Connection refused"):
        fill_store_with_ray([], Eyes((), ()), [], FeatureStore(), "127.0.0.1:9")
    with pytest.raises(ClusterError, match=r"^no Ray cluster can be used at head: Invalid address"):
        fill_store_with_ray([], Eyes((), ()), [], FeatureStore(), "head")
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(ClusterError, match=r"^Ray was imported before .* set RAY_AUTH_MODE=token"):
        fill_store_with_ray([], Eyes((), ()), [], FeatureStore())


def test_workers_fit_on_the_machines_of_a_cluster():
    def workers(*machines: dict[str, float]) -> tuple[int, int, int]:
        found = Workers.that_fill([{"Alive": True, "Resources": machine} for machine in machines], None)
        return found.count, found.cores, found.cards

    assert workers({"CPU": 8}, {"CPU": 64}, {"memory": 1}) == (72, 1, 0)
    assert workers({"memory": 1}) == (1, 1, 0)  # a head that works itself not, before the others have come
    assert workers({"CPU": 8, "GPU": 1}, {"CPU": 64, "GPU": 4}, {"CPU": 64}) == (5, 8, 1)
    assert workers({"CPU": 2, "GPU": 4}) == (4, 1, 1)
    assert (
        Workers.that_fill([{"Alive": False, "Resources": {}}, {"Alive": True, "Resources": {"CPU": 2}}], None).count
        == 2
    )


def test_what_is_held_is_not_copied_and_a_full_disk_is_told_of(many_photos, tmp_path):
    url, photo = f"file://{many_photos[0]}", sha256(Path(many_photos[0]).read_bytes()).hexdigest()
    store, no_folder = FeatureStore(tmp_path / "features"), tmp_path / "file"
    no_folder.touch()
    for space in (Space("a", {}), THUMBNAILS):
        with pytest.raises(StoreError, match=rf"^what is fetched cannot be kept for a while in {no_folder}: Not a dir"):
            take(url, no_folder, Held(store, [Space("a", {})]))
        assert take(many_photos[0], no_folder, Held(store, [Space("a", {})])) == (photo, many_photos[0])
        store.write(space, [photo], {"h": np.ones((1, 1), np.float32)})
    assert take(url, no_folder, Held(store, [Space("a", {})])) == (photo, url)


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
