import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyeyes.features.table import FeatureTable
from manyeyes.report.findings import find
from manyeyes.report.judged import Judged
from manyeyes.report.suspects import likely_mislabelled, near_duplicates
from manyeyes.report.words import short_path, verdict


def judged(rows: int = 60, classes: int = 3, seed: int = 0, experts: int = 2) -> Judged:
    """Photos of which experts know a little, and the model more."""
    random = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), random.integers(0, classes, rows - classes)])

    def said(clear: float) -> np.ndarray:
        logits = clear * np.eye(classes)[labels] + random.normal(size=(rows, classes))
        return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))

    names = "abcdef"[:experts]
    table = FeatureTable({name: random.normal(size=(rows, 8)).astype(np.float32) for name in names})
    return Judged(
        tuple(f"class {number}" for number in range(classes)),
        labels,
        tuple(f"/photos/{row}.jpg" for row in range(rows)),
        said(3.0),
        {name: said(1.5) for name in names} | {"all blocks": said(2.0)},
        lambda some: [()] * len(some),
        None,
        table,
        tuple(f"{row:064x}" for row in range(rows)),
        (),
        np.ones(rows, bool),
    )


@given(st.integers(0, 1000), st.integers(4, 80), st.integers(2, 4))
@settings(max_examples=25, deadline=None)
def test_numbers_are_of_all_photos(seed: int, rows: int, classes: int) -> None:
    one = judged(rows, classes, seed)
    found = find(one)
    assert found.confusion.sum() == rows == sum(bin_.photos for bin_ in found.bins)
    assert np.trace(found.confusion) == one.is_right.sum()
    for row in found.rows:
        assert row.low <= row.scores.accuracy + 1e-9
        assert row.scores.accuracy <= row.high + 1e-9
    for bin_ in found.bins:
        assert bin_.least - 1e-9 <= bin_.accuracy <= bin_.most + 1e-9
        assert bin_.low <= bin_.confidence <= bin_.high + 1e-9
    assert found.names == ("a", "b")  # what sees all blocks is no backbone alone
    assert found.best in found.names
    assert found.rescue is not None
    assert found.rescue.shares.sum() == pytest.approx(1)


def test_one_backbone_has_nobody_to_agree_with() -> None:
    found = find(judged(experts=1))
    assert (found.rescue, found.wins, found.best) == (None, {}, "a")


def test_without_experts_there_is_the_model_alone() -> None:
    one = judged()
    found = find(Judged(**(vars(one) | {"opinions": {}})))
    assert (len(found.rows), found.best, found.p_value) == (1, "", 1.0)


def test_wrong_labels_are_found() -> None:
    one = judged(300, seed=1)
    labels = one.labels.copy()
    log_proba = np.log(0.98 * np.eye(3)[labels] + 0.02 / 3)
    wrong = [10, 20, 30]
    labels[wrong] = (labels[wrong] + 1) % 3
    assert set(likely_mislabelled(Judged(**(vars(one) | {"labels": labels, "log_proba": log_proba}))).tolist()) == {
        *wrong
    }


def test_wrong_labels_are_sought_among_new_photos_only() -> None:
    one = judged(300, seed=1)
    labels, is_new = one.labels.copy(), np.ones(300, bool)
    log_proba = np.log(0.98 * np.eye(3)[labels] + 0.02 / 3)
    labels[[10, 20]] = (labels[[10, 20]] + 1) % 3
    is_new[20] = False
    some = vars(one) | {"labels": labels, "log_proba": log_proba, "is_new": is_new}
    assert likely_mislabelled(Judged(**some)).tolist() == [10]
    assert not len(likely_mislabelled(Judged(**(some | {"is_new": labels > 0}))))


def test_wrong_labels_are_not_sought_where_a_class_is_missing() -> None:
    one = judged()
    assert not len(likely_mislabelled(Judged(**(vars(one) | {"classes": (*one.classes, "rare")}))))


def test_photos_that_are_nearly_the_same_are_found() -> None:
    one = judged(100)
    blocks = {name: block.copy() for name, block in one.table.blocks.items()}
    for block in blocks.values():
        block[7], block[40] = 1.001 * block[3], block[41] + 0.01
    photos = (*one.photos[:7], one.photos[3], *one.photos[8:])
    pairs = near_duplicates(Judged(**(vars(one) | {"table": FeatureTable(blocks), "photos": photos})))
    assert [(pair.first, pair.second) for pair in pairs[:2]] == [(3, 7), (40, 41)]
    assert pairs[0].cosine == 1
    assert 0.95 <= pairs[1].cosine < 1


@pytest.mark.parametrize("rows", [2, 3, 5, 6])
def test_few_photos_are_compared_too(rows) -> None:
    one = judged(rows, 2)
    same = FeatureTable({name: np.ones((rows, 8), np.float32) for name in one.table.names})
    assert len(near_duplicates(Judged(**(vars(one) | {"table": same})))) == rows * (rows - 1) // 2


@pytest.mark.parametrize(("better", "words"), [(True, "more than by chance"), (False, "fewer than by chance")])
def test_who_is_better_is_said_either_way(better, words) -> None:
    one = judged(200)
    right = np.log(0.98 * np.eye(3)[one.labels] + 0.02 / 3)
    good, bad = right, np.roll(right, 1, axis=1)
    log_proba, theirs = (good, bad) if better else (bad, good)
    found = find(Judged(**(vars(one) | {"log_proba": log_proba, "opinions": {"a": theirs, "b": theirs}})))
    assert words in verdict(found)


@pytest.mark.parametrize(
    ("path", "short"),
    [("/home/me/photos/cat/1.jpg", "cat/1.jpg"), ("1.jpg", "1.jpg"), ("s3://bucket/cat/1.jpg", "cat/1.jpg")],
)
def test_where_photos_lie_is_not_told(path, short) -> None:
    assert short_path(path) == short


def test_a_single_photo_is_like_no_other() -> None:
    one = judged(4, 2)
    alone = vars(one) | {"table": one.table[:1], "labels": one.labels[:1], "photos": one.photos[:1]}
    assert near_duplicates(Judged(**alone)) == []
