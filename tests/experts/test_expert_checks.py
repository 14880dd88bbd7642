"""scikit-learn's own checks over every registered expert."""

from collections.abc import Callable
from typing import Any

from sklearn.utils.estimator_checks import parametrize_with_checks

from manyeyes.experts import EXPERTS


@parametrize_with_checks([EXPERTS[name]() for name in EXPERTS.names()])  # type: ignore[untyped-decorator]
def test_every_expert_is_a_scikit_learn_classifier(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)
