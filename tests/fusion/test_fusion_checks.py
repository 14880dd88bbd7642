"""scikit-learn's own checks over every registered fusion, and the mixture with every gate that needs no photos."""

from collections.abc import Callable
from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from manyeyes.fusion import FUSIONS

pytestmark = pytest.mark.usefixtures("fast_descent", "two_strengths")

# Kernel ridge is the faster expert; the other has checks of its own.
FAST = {"expert": "kernel-ridge"}
ESTIMATORS = [
    FUSIONS["stacking"](**FAST),
    FUSIONS["stacking-product"](**FAST),
    FUSIONS["stacking-in-sample"](**FAST),
    FUSIONS["stacking-product-in-sample"](**FAST),
    FUSIONS["best-single"](**FAST),
    FUSIONS["greedy"](**FAST),
    FUSIONS["class-precision"](**FAST),
    FUSIONS["evidence"](),
    FUSIONS["log-linear"](**FAST),
    *(FUSIONS[name]() for name in FUSIONS.names() if name.startswith("concat+")),
    FUSIONS["auto"](),
    FUSIONS["embedding-classifier"](),
    *(FUSIONS["mixture"](gate=gate, **FAST) for gate in ("embedding", "constant", "uniform")),
]


@parametrize_with_checks(ESTIMATORS)  # type: ignore[untyped-decorator]
def test_every_fusion_is_a_scikit_learn_classifier(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


def test_no_fusion_is_forgotten() -> None:
    assert {type(estimator) for estimator in ESTIMATORS} == {FUSIONS[name] for name in FUSIONS.names()}
