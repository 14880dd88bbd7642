"""``manyeyes features``: what the cache holds, and emptying it."""

import re

import pytest

from manyeyes.features.store import FeatureStore


@pytest.fixture
def filled(run, world, trained, tmp_path, monkeypatch):
    """A cache of our own with nine photos in it."""
    monkeypatch.setenv("MANYEYES_HOME", str(tmp_path / "home"))
    assert run("predict", trained, world.held_out).status == 0


def photos(run):
    """Space → photos, as ``features info`` tells it."""
    rows = re.findall(r"^(\S+) +(\d+) +\S+ k?B", run("features", "info").out, re.MULTILINE)
    return {name: int(count) for name, count in rows}


def test_info_of_an_empty_cache(run):
    done = run("features", "info")
    assert done.status == 0
    assert done.out.startswith(f"feature cache at {FeatureStore().root}\n")
    assert done.out.rstrip().endswith("0 B")


def test_info_counts_photos(run, filled):
    assert photos(run) == {"edges": 9, "tint": 9, "thumbnails": 9}


def test_prune_alone_keeps_all_features(run, filled):
    assert run("features", "prune").out == "0 B freed\n"
    assert len(photos(run)) == 3


def test_prune_of_one_backbone(run, filled):
    assert re.fullmatch(r"[\d.]+ k?B freed\n", run("features", "prune", "--backbone", "edges").out)
    assert set(photos(run)) == {"tint", "thumbnails"}


def test_prune_of_everything(run, filled, trained, world):
    assert run("features", "prune", "--all").status == 0
    assert photos(run) == {}
    assert run("predict", trained, world.held_out).status == 0
    assert len(photos(run)) == 3


def test_a_backbone_that_was_never_seen_cannot_be_pruned(run, trained, world):
    done = run("features", "prune", "--backbone", "nosuch")
    assert done.status == 1
    assert "the cache holds nothing of nosuch" in done.err
