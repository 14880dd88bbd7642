from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from manyeyes.experts.calibration import fit_temperature, tempered
from manyeyes.experts.kernel_ridge import KernelRidge
from manyeyes.features.table import FeatureTable
from manyeyes.fusion.auto import Auto
from manyeyes.fusion.best_single import BestSingle
from manyeyes.state import pack, unpack

Labels = npt.NDArray[np.int64]
Clouds = Callable[..., tuple[FeatureTable, Labels]]


def with_taps(table: FeatureTable) -> FeatureTable:
    """Two backbones, a and b, each read at two taps."""
    a, b, c, d = table.blocks.values()
    return FeatureTable({"a": a, "a/second-order": b, "b": c, "b/second-order": d})


@pytest.fixture
def taps(clouds: Clouds) -> tuple[FeatureTable, Labels, FeatureTable]:
    table, y = clouds(90, apart=(1.0, 0.8, 0.6, 0.9))
    return with_taps(table), y, with_taps(clouds(40, apart=(1.0, 0.8, 0.6, 0.9), seed=1)[0])


def test_it_is_the_calibrated_log_linear_pool_of_its_experts(taps: tuple[FeatureTable, Labels, FeatureTable]) -> None:
    table, y, new = taps
    model = Auto().fit(table, y)
    opinions = model.opinions(new)
    assert list(opinions) == ["a", "b", "all blocks"]
    pooled = 0.25 * opinions["a"] + 0.25 * opinions["b"] + 0.5 * opinions["all blocks"]
    np.testing.assert_allclose(model.predict_log_proba(new), tempered(pooled, model.temperature_), atol=1e-9)
    honest = np.einsum("nkc,k->nc", np.stack([ridge.out_of_fold_ for ridge in model.ridges_], axis=1), model.exponents_)
    assert model.temperature_ == fit_temperature(honest, y, np.ones(90))


def test_an_expert_sees_only_its_own_blocks(taps: tuple[FeatureTable, Labels, FeatureTable]) -> None:
    table, y, new = taps
    alone = Auto().fit(table.select(["b", "b/second-order"]), y)
    said = Auto().fit(table, y).opinions(new)["b"]
    np.testing.assert_allclose(said, alone.opinions(new)["b"], atol=1e-9)


def test_one_backbone_is_one_expert(clouds: Clouds) -> None:
    table, y = clouds(40, apart=[1.0])
    model = Auto().fit(table, y)
    assert list(model.opinions(table)) == ["a"] and model.exponents_.tolist() == [1.0]


def test_what_photos_of_a_class_differ_in_is_whitened_away(clouds: Clouds) -> None:
    """Two columns tell the classes apart, forty say how bright the photo is, all together."""
    rng = np.random.default_rng(0)
    y = np.arange(160) % 4
    telling = np.stack([y % 2, y // 2], axis=1) + 0.05 * rng.normal(size=(160, 2))
    bright = 3 * rng.normal(size=(160, 1)) * np.ones(40) + 0.05 * rng.normal(size=(160, 40))
    table = FeatureTable({"a": np.concatenate([telling, bright], axis=1).astype(np.float32)})
    model = Auto().fit(table[:80], y[:80])
    assert model.metrics_ == ["whitened"]
    plain = KernelRidge().fit(table[:80].concatenated(), y[:80])
    right = [
        (said.predict(x) == y[80:]).mean() for said, x in ((model, table[80:]), (plain, table[80:].concatenated()))
    ]
    assert right[0] > right[1] + 0.05


def test_photos_of_a_group_vouch_for_one_another_only_when_it_is_left_out(clouds: Clouds) -> None:
    """Four copies of each photo, labels at random: who sees through the copies knows nothing."""
    rng = np.random.default_rng(0)
    table = FeatureTable({"a": np.repeat(rng.normal(size=(20, 8)).astype(np.float32), 4, axis=0)})
    y = np.repeat(rng.permutation(np.arange(20) % 2), 4)
    groups = np.repeat(np.arange(20), 4)
    sure = [np.exp(Auto().fit(table, y, own).predict_log_proba(table)).max(axis=1).mean() for own in (groups, None)]
    assert sure[0] < 0.8 < 0.9 < sure[1]


def test_with_more_photos_than_landmarks_it_says_nearly_the_same(
    monkeypatch: pytest.MonkeyPatch, taps: tuple[FeatureTable, Labels, FeatureTable]
) -> None:
    table, y, new = taps
    whole = Auto().fit(table, y).predict_proba(new)
    monkeypatch.setattr("manyeyes.fusion.auto.LANDMARKS", 60)
    model = Auto().fit(table, y)
    assert {len(rows) for rows in model.landmarks_.values()} == {60} and model.labels_.shape == (60,)
    assert np.abs(model.predict_proba(new) - whole).mean() < 0.08


def test_contributions_are_what_the_prediction_loses_without_a_block(
    taps: tuple[FeatureTable, Labels, FeatureTable],
) -> None:
    table, y, new = taps
    rng = np.random.default_rng(0)
    table.blocks["b"][:] = rng.normal(size=table.blocks["b"].shape)
    model = Auto().fit(table, y)
    contributions = model.contributions(new)
    assert contributions.shape == (40, 4)
    told = dict(zip(model.blocks_, contributions.mean(axis=0), strict=True))
    assert min(told.values()) == told["b"] < told["a"] / 2


def test_the_order_of_photos_and_other_blocks_do_not_matter(taps: tuple[FeatureTable, Labels, FeatureTable]) -> None:
    table, y, new = taps
    model = Auto().fit(table, y)
    order = np.random.default_rng(0).permutation(len(new))
    np.testing.assert_allclose(model.predict_log_proba(new[order]), model.predict_log_proba(new)[order], atol=1e-5)
    wider = FeatureTable({**new.blocks, "c": np.zeros((40, 2), np.float32)})
    assert np.array_equal(model.predict_log_proba(wider), model.predict_log_proba(new))


def test_it_comes_back_from_a_bundle_as_it_was(taps: tuple[FeatureTable, Labels, FeatureTable]) -> None:
    table, y, new = taps
    model = Auto().fit(table, y)
    arrays: dict[str, npt.NDArray[np.float64]] = {}
    again = unpack(pack(model, arrays), arrays)
    assert np.array_equal(again.predict_log_proba(new), model.predict_log_proba(new))
    assert np.array_equal(again.contributions(new), model.contributions(new))


def test_methods_of_the_paper_do_not_see_second_order_blocks(taps: tuple[FeatureTable, Labels, FeatureTable]) -> None:
    table, y, _ = taps
    assert BestSingle("kernel-ridge").fit(table, y).blocks_ == ["a", "b"]
    assert Auto().fit(table, y).blocks_ == list(table.names)
