"""The head that training begins with."""

import numpy as np
import pytest
import torch
from tiny import bank_of, some_photos

from manyeyes.adapt.plan import Plan
from manyeyes.adapt.training.start import fit_head
from manyeyes.adapt.training.task import features, log_probabilities, score
from manyeyes.experts.softmax import SoftmaxRegression

ROWS = np.arange(24)


@pytest.mark.parametrize("classes", [("apple", "leaf", "sea"), ("apple", "leaf")])
def test_it_is_the_softmax_regression_on_the_backbones_features(classes):
    photos = some_photos(24)
    rows = ROWS[photos.labels < len(classes)]
    bank = bank_of()
    bank.put_new("one", classes, Plan())
    fit_head(bank, "one", photos, rows, sureness=1.0)
    fitted = SoftmaxRegression(random_state=0).fit(features(bank, None, photos, rows).numpy(), photos.labels[rows])
    expected = fitted.predict_log_proba(features(bank, None, photos, ROWS).numpy())
    np.testing.assert_allclose(log_probabilities(bank, "one", photos, ROWS), expected, rtol=1e-3, atol=1e-4)
    assert bank["one"].head.weight.requires_grad


def test_less_sure_of_itself_it_says_the_same():
    photos, bank = some_photos(24), bank_of(one=Plan(), two=Plan())
    fit_head(bank, "one", photos, ROWS)
    fit_head(bank, "two", photos, ROWS, sureness=1.0)
    unsure, sure = (log_probabilities(bank, name, photos, ROWS) for name in bank.names)
    assert torch.equal(unsure.argmax(dim=1), sure.argmax(dim=1))
    assert unsure.max() < sure.max()


def test_a_class_without_photos_is_not_said_of_any():
    photos = some_photos(24)
    bank = bank_of(one=Plan())
    fit_head(bank, "one", photos, ROWS[photos.labels != 1], sureness=1.0)
    log_proba = log_probabilities(bank, "one", photos, ROWS)
    assert log_proba.isfinite().all()
    assert not (log_proba.argmax(dim=1) == 1)[photos.labels != 1].any()


def test_a_score_is_of_the_photos_that_are_asked_for():
    photos = some_photos(24)
    bank = bank_of(one=Plan())
    bank["one"].head.bias.data = torch.tensor([9.0, 0.0, 0.0])
    found = score(bank, "one", photos, np.array([0, 3, 1]))
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.loss == pytest.approx(3.0002, abs=1e-3)
    bank.train()
    score(bank, "one", photos, ROWS)
    assert bank.training
    assert bank.active is None
