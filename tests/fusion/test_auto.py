from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from manyeyes.experts.calibration import fit_temperature, tempered
from manyeyes.experts.lesson import Lesson
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
    lesson = Lesson(table, y)
    members = [("a", "a/second-order"), ("b", "b/second-order"), tuple(table.names)]
    experts = [lesson.expert("kernel-ridge", names) for names in members]
    exponents = [0.25, 0.25, 0.5]
    honest = sum(b * expert.out_of_fold_ for b, expert in zip(exponents, experts, strict=True))
    said = sum(
        b * expert.predict_log_proba(new.side_by_side(names))
        for b, expert, names in zip(exponents, experts, members, strict=True)
    )
    temperature = fit_temperature(honest, y, np.ones(90))
    np.testing.assert_allclose(model.predict_log_proba(new), tempered(said, temperature), atol=1e-6)
    assert model.panel_.names_ == ["a", "b", "all blocks: kernel-ridge"]


def test_one_backbone_is_one_expert(clouds: Clouds) -> None:
    table, y = clouds(40, apart=[1.0])
    model = Auto().fit(table, y)
    assert model.panel_.names_ == ["a"] and model.exponents_.tolist() == [1.0]


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
