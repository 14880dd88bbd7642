"""Photos as training sees them: parts of what was decoded, in an order that only the seed decides."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_world import write_photos
from tiny import CLASSES, bank_of, some_photos

from manyeyes.adapt.plan import Plan
from manyeyes.adapt.training import pixels
from manyeyes.adapt.training.pixels import Photos, _boxes, open_photos
from manyeyes.adapt.training.recipe import Recipe
from manyeyes.adapt.training.task import DomainTask
from manyeyes.backbones.card import Preprocessing
from manyeyes.backbones.preprocess import frame
from manyeyes.images import open_photo


def contains(photo, part):
    """The places in a photo where a part of it may have been cut."""
    windows = np.lib.stride_tricks.sliding_window_view(photo, part.shape)[:, :, 0]
    return np.argwhere((windows == part).all(axis=(2, 3, 4))).tolist()


@given(
    size=st.integers(1, 9),
    margin=st.integers(0, 5),
    rows=st.lists(st.integers(0, 4), min_size=1, max_size=12),
    flip=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_cutting_is_a_part_of_its_photo_perhaps_mirrored(size, margin, rows, flip, seed):
    side = size + margin
    whole = np.random.default_rng(seed).integers(0, 256, (5, side, side, 3), dtype=np.uint8)
    photos = Photos(whole, np.arange(5), tuple("abcde"), size)
    before = whole.copy()
    cut = photos.cuttings(np.array(rows), np.random.default_rng(seed), flip).numpy()
    assert cut.shape == (len(rows), size, size, 3)
    for row, part in zip(rows, cut, strict=True):
        assert contains(whole[row], part) or (flip and contains(whole[row], part[:, ::-1]))
    again = photos.cuttings(np.array(rows), np.random.default_rng(seed), flip).numpy()
    assert np.array_equal(again, cut)
    centres = photos.centres(np.array(rows)).numpy()
    assert all([margin // 2] * 2 in contains(whole[row], part) for row, part in zip(rows, centres, strict=True))
    assert np.array_equal(whole, before)


def test_cuttings_come_from_everywhere_and_half_of_them_are_mirrored():
    whole = np.arange(6 * 6 * 3, dtype=np.uint8).reshape(1, 6, 6, 3)
    photos = Photos(whole, np.zeros(1, np.int64), ("a", "b"), 4)
    cut = photos.cuttings(np.zeros(900, np.int64), np.random.default_rng(0), True).numpy()
    mirrored = cut[:, 0, 0, 0] > cut[:, 0, 1, 0]
    upright = np.where(mirrored[:, None, None, None], cut[:, :, ::-1], cut)
    places = Counter(upright[:, 0, 0, 0].tolist())
    assert sorted(places) == [3 * (6 * top + left) for top in range(3) for left in range(3)]
    assert min(places.values()) > 60
    assert 400 < mirrored.sum() < 500


@given(
    count=st.integers(1, 40),
    batch=st.integers(1, 50),
    seed=st.integers(0, 5),
    epoch=st.integers(0, 5),
)
def test_an_epoch_sees_every_training_photo_once_in_parts_of_one_size(count, batch, seed, epoch):
    bank, photos = BANK, PHOTOS
    rows = np.random.default_rng(count).permutation(40)[:count]
    task = DomainTask(bank, "one", photos, rows, rows[:0], Recipe(batch=batch, seed=seed))
    batches = [task.batch(epoch, step) for step in range(task.steps)]
    seen = np.concatenate([one.inputs[0].numpy() for one in batches])[:, 0, 0, 0]
    assert sorted(seen) == sorted(rows)  # each photo is a flat one, of its number
    assert all((photos.labels[one.inputs[0].numpy()[:, 0, 0, 0]] == one.labels.numpy()).all() for one in batches)
    sizes = [len(one.labels) for one in batches]
    assert max(sizes) <= batch
    assert max(sizes) - min(sizes) <= 1
    again = [task.batch(epoch, step).inputs[0].numpy() for step in reversed(range(task.steps))][::-1]
    assert all(np.array_equal(one.inputs[0].numpy(), other) for one, other in zip(batches, again, strict=True))


FLAT = np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None, None, None], (40, 34, 34, 3))
PHOTOS = Photos(FLAT, np.arange(40) % 3, CLASSES, 32)
BANK = bank_of("vgg", one=Plan("norms"))


def test_batches_change_with_seed_epoch_and_step():
    photos, rows = some_photos(24), np.arange(24)
    batches = [
        DomainTask(BANK, "one", photos, rows, rows[:0], Recipe(batch=8, seed=seed)).batch(epoch, step).inputs[0].numpy()
        for seed in (0, 1)
        for epoch in (0, 1)
        for step in (0, 1)
    ]
    assert len({one.tobytes() for one in batches}) == len(batches)


@pytest.fixture(params=["in memory", "in a file"])
def room(request, monkeypatch):
    if request.param == "in a file":
        monkeypatch.setattr(pixels, "ROOM", 0)


def test_photos_are_decoded_once_and_the_centre_is_the_backbones_framing(tmp_path, room):
    paths = write_photos(tmp_path, ["b", "a"], count=3)
    labels = [path.parent.name for path in paths]
    preprocessing = Preprocessing(size=20, crop=0.8, interpolation="bilinear")
    opened = open_photos([*map(str, paths)], labels, preprocessing)
    photos = opened.photos
    assert (photos.classes, photos.labels.tolist(), photos.size) == (("a", "b"), [1, 1, 1, 0, 0, 0], 20)
    assert photos.pixels.shape == (6, 25, 25, 3)
    assert opened.is_good.all()
    for path, seen in zip(paths, photos.centres(np.arange(6)).numpy(), strict=True):
        # One pixel at most is rounded in another way.
        whole = frame(open_photo(str(path)).image, 25, 1.0, "bilinear")
        assert contains(whole, seen) == [[2, 2]]
    assert not list(tmp_path.glob(".*"))


def test_what_cannot_be_read_is_left_out_and_named(tmp_path, room):
    paths = write_photos(tmp_path, ["a", "b"], count=3)
    paths[1].write_bytes(b"no photo")
    Image.new("RGB", (9, 9)).save(tmp_path / "c.png")
    (tmp_path / "gone").mkdir()
    every = [*map(str, paths), str(tmp_path / "c.png"), str(tmp_path / "gone" / "x.png")]
    opened = open_photos(every, [*"aaabbbc", "only in the photo that is gone"], Preprocessing(size=16, crop=1.0))
    assert [one.path for one in opened.rejected] == [every[1], every[7]]
    assert opened.is_good.tolist() == [True, False, True, True, True, True, True, False]
    assert len(opened.photos) == 6
    assert [opened.photos.classes[label] for label in opened.photos.labels] == [*"aabbbc"]


@settings(deadline=None, max_examples=50)
@given(side=st.integers(8, 300), seed=st.integers(0, 10**6))
def test_parts_of_any_size_lie_within_the_photo(side, seed):
    boxes = _boxes(200, side, np.random.default_rng(seed))
    top, left, height, width = boxes.T
    assert (boxes >= 0).all() and (height >= 1).all() and (width >= 1).all()
    assert (top + height <= side).all() and (left + width <= side).all()
    if side > 100:
        shares, ratios = height * width / side**2, width / height
        assert 0.07 < shares.min() < 0.2 and shares.max() > 0.7
        assert ratios.min() > 0.7 and ratios.max() < 1.45
        assert abs(np.log(ratios).mean()) < 0.1


def test_a_part_that_is_resized_shows_what_was_there():
    """A photo whose left half is black: parts are black on the left, white on the right, or one of these."""
    pixels = np.zeros((1, 40, 40, 3), np.uint8)
    pixels[:, :, 20:] = 255
    photos = Photos(pixels, np.zeros(1, np.int64), ("x",), 32)
    cut = photos.cuttings(np.zeros(50, np.int64), np.random.default_rng(0), False, "resized").numpy()
    assert cut.shape == (50, 32, 32, 3)
    columns = cut[:, :, :, 0].astype(int).mean(axis=1)
    assert (np.diff(columns, axis=1) >= 0).all()
    assert len({tuple(row) for row in columns.tolist()}) > 10
