"""What costs time in training and decides nothing that is tested here."""

import pytest

from manyeyes.experts import softmax


@pytest.fixture(autouse=True)
def two_strengths(monkeypatch: pytest.MonkeyPatch) -> None:
    """From how many strengths the softmax regression chooses that training begins with."""
    monkeypatch.setattr(softmax, "STRENGTHS", (0.01, 1.0))
