"""scikit-learn's own checks over every registered expert."""

from collections.abc import Callable
from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from manyeyes.experts import EXPERTS, gated


@pytest.fixture(autouse=True)
def two_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """How well an expert learns decides nothing here."""
    monkeypatch.setattr(gated, "EPOCHS", 2)


@parametrize_with_checks([EXPERTS[name]() for name in EXPERTS.names()])  # type: ignore[untyped-decorator]
def test_every_expert_is_a_scikit_learn_classifier(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)
