"""Photos and weights that change between two runs, or under the feet of one: nothing is given for what it is not."""

import dataclasses
import hashlib
import random
import shutil
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
import torch
from child import Child
from safetensors.torch import load_file, save_file

from manyeyes.backbones.backbone import FINAL, Backbone
from manyeyes.backbones.preprocess import frame
from manyeyes.errors import ChecksumError
from manyeyes.features.extract import Extraction, extract
from manyeyes.features.store import FeatureStore
from manyeyes.images import Photo, open_photo

from .conftest import write_photos
from .stored import run


def sha256(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def differ(left: np.ndarray, right: np.ndarray) -> bool:
    """By more than a batch of another size changes."""
    return bool(np.abs(left - right).max() > 1e-3)


def put(content: str, path: str) -> None:
    """At no moment is there half a photo."""
    scratch = Path(path).with_suffix(".part")
    shutil.copy(content, scratch)
    scratch.replace(path)


def test_another_photo_under_the_same_name_is_looked_at_anew(backbones, photos, root, tmp_path):
    paths, store = photos(10), FeatureStore(root)
    first = extract(paths, backbones, store).table.blocks
    for target, source in ((2, 7), (5, 0)):
        put(paths[source], paths[target])
    (other,) = write_photos(tmp_path / "other", 13)[12:]
    put(other, paths[9])

    again = extract(paths, backbones, store)
    assert again.computed == 1  # of the others only the names are new
    rows = [0, 1, 7, 3, 4, 0, 6, 7, 8]
    truth = extract([other], backbones, FeatureStore(tmp_path / "elsewhere")).table.blocks
    for name, block in again.table.blocks.items():
        np.testing.assert_array_equal(block[:9], first[name][rows])
        np.testing.assert_allclose(block[9], truth[name][0], atol=1e-5)
        assert differ(block[9], first[name][9])


def run_when_told(paths: list[str], backbones: list[Backbone], root: Path, answer: Connection) -> None:
    answer.send("ready")
    answer.recv()
    answer.send(run(paths, backbones, root))


@pytest.mark.parametrize("seed", [0, 1])
def test_photos_that_change_all_the_time_are_never_taken_for_each_other(backbones, many_photos, root, tmp_path, seed):
    """Hundred names, under each of which two photos take turns while they are hashed and decoded."""
    chance = random.Random(seed)
    contents = many_photos
    truth = extract(contents, backbones, FeatureStore(tmp_path / "truth"))
    row_of = {photo: row for row, photo in enumerate(truth.photos)}
    (tmp_path / "names").mkdir()
    paths = [str(tmp_path / "names" / f"{number:03}.png") for number in range(100)]
    for content, path in zip(contents, paths, strict=False):
        put(content, path)

    child = Child(run_when_told, paths, backbones, root)
    assert child.pipe.recv() == "ready"
    child.pipe.send("go")
    turns = 0
    while not child.pipe.poll():
        number, turns = chance.randrange(100), turns + 1
        put(contents[number + 100 * chance.randrange(2)], paths[number])
        time.sleep(0.0005)
    found: Extraction = child.pipe.recv()
    assert child.end() == 0
    assert turns > 50

    refused = {rejected.path for rejected in found.rejected}
    assert refused == {path for path, is_good in zip(paths, found.is_good, strict=True) if not is_good}
    assert {rejected.detail for rejected in found.rejected} <= {"the file changed while it was being read"}
    numbers = np.flatnonzero(found.is_good)
    for row, number in enumerate(numbers):
        assert found.photos[row] in {sha256(contents[number]), sha256(contents[number + 100])}
    expected = truth.table[[row_of[photo] for photo in found.photos]]
    np.testing.assert_array_equal(found.table.thumbnails, expected.thumbnails)
    for name, block in found.table.blocks.items():
        np.testing.assert_allclose(block, expected.blocks[name], atol=1e-5)
    # Nor does the store know anything false: what it holds of any of them is what there is to say.
    again = extract(contents, backbones, FeatureStore(root)).table
    for name, block in again.blocks.items():
        np.testing.assert_allclose(block, truth.table.blocks[name], atol=1e-5)


@pytest.fixture
def card(prepared, own_home, tmp_path):
    """A card of the test's own, whose weights lie in a file of the user's."""
    card = prepared["resnet"].card
    path = tmp_path / "mine.safetensors"
    shutil.copy(card.where, path)
    return dataclasses.replace(card, source=f"local:{path}")


def train_further(path: Path, seed: int = 1) -> None:
    """The user saves other weights to the same file."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        tensors = {name: t + 0.1 * torch.randn_like(t) if t.ndim > 1 else t for name, t in load_file(path).items()}
    save_file(tensors, path)


def see(backbone: Backbone, path: str) -> np.ndarray:
    photo = open_photo(path)
    assert isinstance(photo, Photo)
    block: np.ndarray = backbone.embed(frame(photo.image, *backbone.card.preprocessing.framing)[None]).blocks[FINAL][0]
    return block


def test_weights_that_changed_between_two_runs_look_anew(card, photos, root):
    paths, store = photos(5), FeatureStore(root)
    older = Path(card.where).read_bytes()
    first = extract(paths, [Backbone.load(card)], store)
    train_further(Path(card.where))
    second = extract(paths, [Backbone.load(card)], store)
    assert (first.computed, second.computed) == (5, 5)
    assert differ(first.table.blocks["resnet"], second.table.blocks["resnet"])
    np.testing.assert_allclose(second.table.blocks["resnet"][3], see(Backbone.load(card), paths[3]), atol=1e-5)

    Path(card.where).write_bytes(older)
    third = extract(paths, [Backbone.load(card)], store)
    assert third.computed == 0
    np.testing.assert_array_equal(third.table.blocks["resnet"], first.table.blocks["resnet"])


def test_weights_that_change_during_a_run_never_count_for_those_it_began_with(card, photos, root):
    paths, store = photos(6), FeatureStore(root)
    begun, built = Backbone.load(card), Backbone.load(card)
    expected = see(built, paths[0])
    train_further(Path(card.where))
    # Another process that wants the new ones puts them where the old ones were.
    newer = Backbone.load(card)
    with pytest.raises(ChecksumError, match=r"^the weights of resnet were changed .* run again$"):
        extract(paths, [begun], store)
    # A network that is built keeps the weights that it has, and their name.
    kept = extract(paths, [built], store)
    np.testing.assert_allclose(kept.table.blocks["resnet"][0], expected, atol=1e-5)
    fresh = extract(paths, [newer], store)
    assert fresh.computed == 6
    assert differ(fresh.table.blocks["resnet"], kept.table.blocks["resnet"])
