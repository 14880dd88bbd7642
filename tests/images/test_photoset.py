import dataclasses

import numpy as np
import pytest

from manyeyes.errors import PhotoSourceError
from manyeyes.images import PhotoSet

PHOTOS = PhotoSet(
    paths=("1", "2", "3", "4"),
    labels=("dog", "cat", "dog", "ant"),
    splits=("train", "train", "val", "test"),
    groups=("a", "b", "a", "c"),
    notes=("a note",),
)


def test_length_classes_and_counts() -> None:
    assert len(PHOTOS) == 4
    assert PHOTOS.classes == ("ant", "cat", "dog")
    assert list(PHOTOS.counts.items()) == [("ant", 1), ("cat", 1), ("dog", 2)]


def test_classes_are_sorted_by_code_point() -> None:
    assert PhotoSet(("1", "2", "3"), ("é", "a", "Z")).classes == ("Z", "a", "é")


def test_a_mask_and_indices_select_the_same() -> None:
    mask = [True, False, True, False]
    chosen = PHOTOS.select(mask)
    assert chosen == PHOTOS.select([0, 2]) == PHOTOS.select(np.array(mask)) == PHOTOS.select(np.array([0, 2]))
    assert chosen == PhotoSet(("1", "3"), ("dog", "dog"), ("train", "val"), ("a", "a"), ("a note",))


def test_indices_keep_their_order() -> None:
    assert PHOTOS.select([3, 0]).paths == ("4", "1")


def test_nothing_can_be_selected() -> None:
    assert len(PHOTOS.select([])) == len(PHOTOS.select([False] * 4)) == 0


def test_a_selection_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(IndexError):
        PHOTOS.select([True, False])
    with pytest.raises(IndexError):
        PHOTOS.select([4])
    with pytest.raises(TypeError):
        PHOTOS.select(np.array([0.0, 1.0]))


@pytest.mark.parametrize("name", ["val", "valid", "Validation", "DEV", "eval"])
def test_a_split_by_any_of_its_names(name: str) -> None:
    assert PHOTOS.split(name).paths == ("3",)


def test_a_split_that_is_not_there() -> None:
    with pytest.raises(PhotoSourceError, match="no split is called 'holdout': there are test, train, val"):
        PHOTOS.split("holdout")
    with pytest.raises(PhotoSourceError, match="have no splits"):
        PhotoSet(("1",), ("a",)).split("train")


def test_require_classes() -> None:
    PHOTOS.require_classes(3)
    with pytest.raises(PhotoSourceError, match="at least 2 classes are needed, and there is only 'dog'"):
        PHOTOS.select([0, 2]).require_classes(2)


def test_a_group_in_two_splits_is_named() -> None:
    with pytest.raises(PhotoSourceError, match=r"the group 'a' lies in two splits, 'train' \(1\) and 'val' \(3\)"):
        PHOTOS.check_groups()


def test_groups_that_lie_in_one_split_each_or_in_none() -> None:
    PHOTOS.select([0, 1, 3]).check_groups()
    dataclasses.replace(PHOTOS, splits=None).check_groups()
    dataclasses.replace(PHOTOS, groups=None).check_groups()


def test_fields_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="2 paths"):
        PhotoSet(("1", "2"), ("a",))
