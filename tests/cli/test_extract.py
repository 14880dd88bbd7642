"""``manyeyes extract`` looks, keeps what it saw, and says so; ``fit`` need not look again."""

import csv
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from small_world import write_photos

from manyeyes.features.extract import Filling
from manyeyes.features.store import FeatureStore

from .conftest import PROGRAM


@pytest.fixture
def photos(tmp_path):
    """Twelve photos in folders of any depth, a copy, and two files that are no photos."""
    folder = tmp_path / "photos"
    paths = write_photos(folder / "a" / "b", ["x", "y", "z"], count=4)
    shutil.copy(paths[0], folder / "copy.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no more")
    (folder / "empty.png").touch()
    return folder


def said(out: str) -> list[int]:
    """Looked at now, there already, copies, not read."""
    match = re.match(
        r"(\d+) photos looked at now(?: in .* s \(.* photos/s\))?; (\d+) were there already; (\d+) are copies of "
        r"others; (\d+) could not be read\n",
        out,
    )
    return list(map(int, match.groups()))


@pytest.mark.parametrize("scheme", ["", "file://", "fsspec+file://"])
def test_what_was_seen_is_kept_and_not_looked_at_again(run, world, photos, tmp_path, scheme):
    place = tmp_path / "features"
    words = ["extract", f"{scheme}{photos}", "--zoo", world.fast_zoo, "--features", f"{scheme}{place}"]
    listing, cached = tmp_path / "rejected.csv", FeatureStore().info()
    first = run(*words, "--rejected", listing)
    assert first.status == 0
    assert said(first.out) == [12, 0, 1, 2]
    assert re.search(rf"features kept at {re.escape(scheme)}{place}: [\d.]+ kB of these backbones\n$", first.out)
    assert "15 photos found" in first.err
    with listing.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(Path(row["path"]).name, row["reason"]) for row in rows] == [
        ("broken.jpg", "damaged"),
        ("empty.png", "empty"),
    ]
    for row in rows:
        assert f"left out: {row['path']}: {row['reason']}" in first.err
    assert FeatureStore().info() == cached  # all of it went to the place that was named

    write_photos(photos / "a" / "b", ["x"], count=1, first=50)
    assert said(run(*words).out) == [1, 12, 1, 2]
    done = run("fit", photos / "a" / "b", "-o", tmp_path / "model", *words[2:], "--gate", "uniform", "--no-compare")
    assert done.status == 0
    assert "0 looked at now" in done.err
    done = run("predict", tmp_path / "model", photos / "copy.png", "--features", place, "--json")
    assert done.status == 0
    assert FeatureStore().info() == cached


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_a_manifest_needs_no_labels(run, world, photos, tmp_path, suffix):
    manifest = photos / f"some{suffix}"
    manifest.write_text("path\na/b/x/00.png\na/b/y/01.png\n")
    done = run("extract", manifest, photos / "copy.png", "--zoo", world.fast_zoo, "--features", tmp_path / "features")
    assert said(done.out) == [2, 0, 1, 0]


def test_taps_that_are_chosen_and_taps_that_are_not_known(run, world, photos, tmp_path):
    place = tmp_path / "features"
    words = ["extract", photos, "--zoo", world.zoo, "--features", place]
    assert run(*words, "--taps", "final").status == 0
    assert {info.name for info in FeatureStore(place).info()} == {"thumbnails", "tint", "edges", "tiny"}
    assert said(run(*words).out) == [12, 0, 1, 2]  # at the second-order tap of one backbone
    assert {info.name for info in FeatureStore(place).info()} == {
        "thumbnails",
        "tint",
        "edges",
        "tiny",
        "tiny.second-order",
    }
    assert run(*words, "--taps", "final,third").error == (
        "error: no tap is called third: choose from final, second-order"
    )


def test_what_cannot_be_done_is_one_line(run, world, photos, tmp_path):
    zoo = ["--zoo", world.fast_zoo]
    (tmp_path / "none").mkdir()
    assert "no photos in" in run("extract", tmp_path / "none", *zoo).error
    assert "none of the 1 photos can be read" in run("extract", photos / "empty.png", *zoo).error
    assert "the network is not allowed" in run("extract", "s3://bucket/photos", *zoo).error


@pytest.mark.parametrize(
    ("words", "address", "others"),
    [
        (["--ray"], None, []),
        (["--ray", "auto"], "auto", []),
        (["--ray=auto"], "auto", []),
        (["--ray", "ray://head:10001"], "ray://head:10001", []),
        (["--ray", "10.0.0.1:6379"], "10.0.0.1:6379", []),
        (["--ray", "y/01.png"], None, ["y/01.png"]),
        (["--ray", "-q"], None, []),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_ray_takes_an_address_or_none(run, world, photos, monkeypatch, words, address, others):
    asked = []
    monkeypatch.setattr(
        "manyeyes.features.distributed.fill_store_with_ray",
        lambda paths, eyes, backbones, store, address: asked.append((paths[:1], address)) or Filling((), 0),
    )
    monkeypatch.chdir(photos / "a" / "b")
    run("extract", *words, "x/00.png", "--zoo", world.fast_zoo)
    assert asked == [([*others, "x/00.png"][:1], address)]


@pytest.mark.parametrize("words", [["--ray", "head"], ["--ray=head"], ["--ray", "head:"], ["--ray=:6379"]])
def test_what_is_no_address_is_told_before_anything_is_done(run, photos, words):
    done = run("extract", *words, photos)
    assert done.status == 2
    assert "HOST:PORT" in done.err
    assert "6379" in done.err


def test_a_listing_that_cannot_be_written_is_told_before_anything_is_done(run, world, photos, tmp_path):
    words = ["extract", photos, "--zoo", world.fast_zoo, "--features", tmp_path / "features", "--rejected"]
    for listing, reason in ((photos, "a directory."), (tmp_path / "gone" / "rejected.csv", "No such file")):
        done = run(*words, listing)
        assert done.status == 2
        assert reason in " ".join(done.err.replace("│", " ").split())
    assert not (tmp_path / "features").exists()


def test_without_ray_it_says_how_to_get_it(run, world, photos, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    done = run("extract", photos, "--zoo", world.fast_zoo, "--ray")
    assert done.error == "error: --ray needs Ray: pip install 'manyeyes[ray]'"


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
def test_by_ray_it_goes_on_where_it_was_killed_and_fit_finds_all(run, world, tmp_path, monkeypatch):
    monkeypatch.setenv("MANYEYES_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # a longer path than Ray's sockets can have
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")  # one worker will do, and each takes its time to import torch
    photos, place = tmp_path / "photos", tmp_path / "features"
    write_photos(photos, ["a", "b", "c"], count=60)
    words = ["--zoo", world.fast_zoo, "--features", str(place)]
    command = [*PROGRAM, "extract", str(photos), "--ray", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as killed:
        end = time.monotonic() + 300
        while not list(place.glob("thumbnails-*/shard-*")) and time.monotonic() < end:
            time.sleep(0.001)
        killed.send_signal(signal.SIGKILL)
        out, _ = killed.communicate(timeout=60)
    assert out == ""
    time.sleep(1)  # Ray's processes end after the one that started them
    held = {info.name: info.photos for info in FeatureStore(place).info()}["thumbnails"]
    assert 0 < held < 180

    again = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert again.returncode == 0
    looked, there, copies, unread = said(again.stdout)
    assert looked + there == 180
    assert 0 < looked <= 180 - held
    assert (copies, unread) == (0, 0)
    assert again.stderr == "180 photos found\nstarting Ray\n"

    done = run("fit", photos, "-o", tmp_path / "model", *words, "--gate", "uniform", "--no-compare")
    assert done.status == 0
    assert "0 looked at now" in done.err
