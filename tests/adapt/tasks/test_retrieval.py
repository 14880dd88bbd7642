"""Rank-1 and mAP, by Market-1501's protocol."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from manyeyes.adapt.tasks.retrieval import JUNK, Shots, retrieval


def shots(seed, count, identities=4, cameras=3, dimension=5):
    random = np.random.default_rng(seed)
    features = torch.from_numpy(random.normal(size=(count, dimension))).float()
    return Shots(features, random.integers(0, identities, count), random.integers(0, cameras, count))


def at(*angles, of, by):
    turned = torch.tensor(angles) * np.pi / 180
    return Shots(torch.stack([turned.cos(), turned.sin()], dim=1), np.array(of), np.array(by))


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), data=st.data())
def test_the_order_of_the_gallery_and_the_length_of_features_change_nothing(seed, data):
    queries, gallery = shots(seed, 6), shots(seed + 1, 15)
    order = np.array(data.draw(st.permutations(range(15))))
    turned = Shots(3 * gallery.features[order], gallery.identities[order], gallery.cameras[order])
    assert retrieval(queries, turned) == pytest.approx(retrieval(queries, gallery))


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), identities=st.integers(2, 5))
def test_all_is_found_where_all_of_the_same_lie_nearest(seed, identities):
    count = 4 * identities
    near = torch.eye(identities).repeat(4, 1) + 0.01 * torch.rand(
        count, identities, generator=torch.Generator().manual_seed(seed)
    )
    of = np.tile(np.arange(identities), 4)
    one = Shots(near, of, np.arange(count))
    assert retrieval(one, one) == {"rank-1": 1.0, "mAP": 1.0}
    turned = one._replace(features=torch.roll(near, 1, dims=0))
    assert retrieval(one, turned)["rank-1"] == 0


def test_precisions_are_averaged_over_the_right_ones_and_then_over_queries():
    queries = at(0, 90, of=[1, 2], by=[0, 0])
    gallery = at(10, 20, 30, 80, of=[2, 1, 1, 2], by=[1, 1, 1, 1])
    first, second = (1 / 2 + 2 / 3) / 2, (1 + 2 / 4) / 2
    assert retrieval(queries, gallery) == pytest.approx({"rank-1": 1 / 2, "mAP": (first + second) / 2})


def test_the_same_camera_and_junk_are_not_there_and_distractors_are_wrong():
    query = at(0, of=[1], by=[0])
    right, shown_again, junk, other = (20, 1, 1), (5, 1, 0), (6, JUNK, 1), (10, 0, 0)

    def found(*photos):
        angles, of, by = zip(*photos, strict=True)
        return retrieval(query, at(*angles, of=of, by=by))

    assert found(right, shown_again, junk) == {"rank-1": 1, "mAP": 1}
    assert found(right, shown_again, junk, other) == {"rank-1": 0, "mAP": 0.5}
    assert found(shown_again, junk, other) == {}
    nobody = query._replace(identities=np.array([JUNK]))
    assert retrieval(nobody, at(6, of=[JUNK], by=[1])) == {}


def test_of_photos_that_are_equally_near_each_is_as_much_the_first():
    query, gallery = at(0, of=[1], by=[0]), at(30, 30, of=[1, 2], by=[1, 1])
    assert retrieval(query, gallery) == {"rank-1": 0.5, "mAP": 0.5}
