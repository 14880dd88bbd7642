from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import softmax

from manyeyes.experts.calibration import fit_temperature
from manyeyes.experts.softmax import SoftmaxRegression
from manyeyes.features.table import FeatureTable
from manyeyes.fusion import FUSIONS

Labels = npt.NDArray[np.int64]
Clouds = Callable[..., tuple[FeatureTable, Labels]]


def mean(opinions):
    return np.exp(opinions).mean(axis=1)


def product(opinions):
    """The K-th root of the product of probabilities, summing to one."""
    multiplied = np.exp(opinions).prod(axis=1) ** (1 / opinions.shape[1])
    return multiplied / multiplied.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("infix", "first_stage"), [("", mean), ("-product", product)], ids=["mean", "product"])
@pytest.mark.parametrize("suffix", ["", "-in-sample"])
def test_the_second_stage_learns_from_what_its_name_says(clouds: Clouds, infix, first_stage, suffix) -> None:
    table, y = clouds(60)
    new = clouds(40, seed=1)[0]
    model = FUSIONS[f"stacking{infix}{suffix}"]("kernel-ridge").fit(table, y)
    honest, of_own_rows = model.panel_.out_of_fold_, model.panel_.log_proba(table)
    second = SoftmaxRegression().fit(first_stage(of_own_rows if suffix else honest), y)
    calibrated_on = second.predict_log_proba(first_stage(honest)) if suffix else second.out_of_fold_
    assert model.temperature_ == pytest.approx(fit_temperature(calibrated_on, y, np.ones(60)), rel=1e-3)
    expected = softmax(second.predict_log_proba(first_stage(model.panel_.log_proba(new))) / model.temperature_, axis=1)
    np.testing.assert_allclose(model.predict_proba(new), expected, atol=1e-6)


def test_in_sample_opinions_do_not_make_it_overconfident() -> None:
    """Experts that know their own rows by heart teach the second stage nothing; the temperature says so."""
    rng = np.random.default_rng(0)
    table = FeatureTable({name: rng.normal(size=(200, 50)).astype(np.float32) for name in "ab"})
    y = rng.permutation(np.arange(200) % 2)
    proba = FUSIONS["stacking-in-sample"]("kernel-ridge").fit(table[:100], y[:100]).predict_proba(table[100:])
    assert proba.max(axis=1).mean() < 0.65
