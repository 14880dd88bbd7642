import numpy as np
import pytest
from scipy.linalg import null_space
from scipy.stats import multivariate_normal
from sklearn.linear_model import Ridge

from manyeyes.fusion.bayesian_linear import (
    BayesianLinear,
    Spectrum,
    centred,
    decompose,
    log_evidence,
    mackay_step,
    maximise_evidence,
    see,
)


def problem(rows: int, width: int, signal: float = 1.0, targets: int = 3, seed: int = 0):
    """Features, and targets that they explain as far as ``signal`` goes."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows, width)) * rng.uniform(0.1, 1, width)
    return features, np.sign(signal * features @ rng.normal(size=(width, targets)) + rng.normal(size=(rows, targets)))


def spectrum_of(features, targets) -> Spectrum:
    ones = np.ones(len(features))
    rows = centred(features, ones)
    return see(*decompose(rows @ rows.T), centred(targets, ones))


def brute_force(features, target, ratio: float, precision: float) -> float:
    """The log density of the target in all directions but that of the bias, by its covariance."""
    across = null_space(np.ones((1, len(features))))
    rows, seen = across.T @ features, across.T @ target
    covariance = (rows @ rows.T / ratio + np.eye(len(seen))) / precision
    return multivariate_normal.logpdf(seen, cov=covariance)


@pytest.mark.parametrize("width", [2, 5, 30])
@pytest.mark.parametrize("ratio", [0.01, 1.0, 100.0])
def test_the_evidence_is_the_density_of_a_multivariate_normal(width, ratio):
    features, targets = problem(12, width)
    spectrum = spectrum_of(features, targets)
    evidence = log_evidence(spectrum, np.full(3, ratio))
    shrinkage = ratio / (spectrum.values[:, None] + ratio)
    precision = 11 / ((shrinkage * spectrum.squares).sum(axis=0) + spectrum.rest)
    for target, of_target, best in zip(targets.T, evidence, precision, strict=True):
        assert of_target == pytest.approx(brute_force(features, target, ratio, best), rel=1e-8)
        for factor in (0.8, 1.25):
            assert brute_force(features, target, ratio, factor * best) < of_target


CASES = [(40, 8, 1.0), (40, 8, 0.1), (40, 100, 1.0), (40, 100, 0.0), (100, 20, 0.3), (12, 300, 3.0)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("rows", "width", "signal"), CASES)
def test_no_other_ratio_has_more_evidence(rows, width, signal, seed):
    spectrum = spectrum_of(*problem(rows, width, signal, seed=seed))
    best = maximise_evidence(spectrum).evidence
    for ratio in np.geomspace(*spectrum.bounds, 600):
        assert (log_evidence(spectrum, np.full(3, ratio)) <= best + 1e-3).all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("rows", "width", "signal"), CASES)
def test_acceleration_gets_to_the_same_place_sooner(rows, width, signal, seed):
    spectrum = spectrum_of(*problem(rows, width, signal, targets=10, seed=seed))
    plain, accelerated = maximise_evidence(spectrum, accelerate=False), maximise_evidence(spectrum)
    np.testing.assert_allclose(accelerated.evidence, plain.evidence, atol=1e-2)
    assert (accelerated.evidence >= plain.evidence - 1e-6).all()
    assert accelerated.rounds < plain.rounds


def test_without_the_guard_acceleration_could_end_where_the_evidence_is_least():
    """Features that explain little have an evidence with a valley; its bottom is a rest point of the steps too."""
    for seed in range(200):
        spectrum = spectrum_of(*problem(30, 40, 0.15, targets=1, seed=seed))
        ratios = np.geomspace(*spectrum.bounds, 2000)
        evidence = np.concatenate([log_evidence(spectrum, np.array([ratio])) for ratio in ratios])
        valleys = np.flatnonzero((np.diff(evidence)[:-1] < 0) & (np.diff(evidence)[1:] > 0)) + 1
        for valley in valleys:
            bottom = ratios[[valley]]
            assert mackay_step(spectrum, bottom) == pytest.approx(bottom, rel=0.05)
            assert maximise_evidence(spectrum).evidence[0] > evidence[valley]
        if len(valleys):
            return
    pytest.fail("no evidence with a valley was found")


def test_features_that_never_vary_leave_the_mean():
    _, targets = problem(20, 3)
    model = BayesianLinear(np.ones((20, 4)), targets, np.ones(20), None)
    assert not model.coef.any()
    np.testing.assert_allclose(model.intercept, targets.mean(axis=0))


GROUPS = {"rows": None, "groups": np.arange(20) // 3}


@pytest.mark.parametrize("groups", GROUPS.values(), ids=GROUPS)
@pytest.mark.parametrize("width", [6, 50])
def test_it_is_ridge_regression_and_so_is_what_it_says_of_rows_left_out(width, groups):
    features, targets = problem(20, width)
    weights = np.random.default_rng(1).uniform(0.5, 2, 20)
    model = BayesianLinear(features, targets, weights, groups)
    for c, ratio in enumerate(model.ratios):
        whole = Ridge(ratio).fit(features, targets[:, c], weights)
        np.testing.assert_allclose(model.coef[:, c], whole.coef_, atol=1e-6)
        np.testing.assert_allclose(model.intercept[c], whole.intercept_, atol=1e-6)
        for own in np.arange(20) if groups is None else np.unique(groups):
            left = (np.arange(20) if groups is None else groups) == own
            others = Ridge(ratio).fit(features[~left], targets[~left, c], weights[~left])
            np.testing.assert_allclose(model.left_out[left, c], others.predict(features[left]), atol=1e-5)


def test_rows_without_weight_are_spoken_of_by_the_others():
    features, targets = problem(20, 6)
    model = BayesianLinear(features, targets, np.repeat([0.0, 1.0], [5, 15]), None)
    np.testing.assert_allclose(model.left_out[:5], features[:5] @ model.coef + model.intercept, atol=1e-5)
    assert np.isfinite(model.left_out).all()
