"""The feature gate of GTN as part of an expert: the plain regression where it does not pay, and a better one where it
does."""

import numpy as np
import pytest
import torch

from manyeyes.backbones.nets.feature_gate import FeatureGate
from manyeyes.experts import gated
from manyeyes.experts.gated import GatedSoftmax
from manyeyes.experts.softmax import SoftmaxRegression
from manyeyes.state import pack, unpack


@pytest.fixture
def in_context():
    """Which of two features tells the class depends on a third: what no weights can tell that all photos share."""
    random = np.random.default_rng(0)
    X = random.normal(size=(600, 10))
    y = np.where(X[:, 2] > 0, X[:, 0], X[:, 1]) > 0
    return X[:400], y[:400], X[400:], y[400:]


def test_a_gate_that_is_conditioned_on_the_photo_sees_what_a_plain_regression_cannot(in_context):
    X, y, new, truth = in_context
    plain, static = SoftmaxRegression().fit(X, y), GatedSoftmax(static=True).fit(X, y)
    model = GatedSoftmax().fit(X, y)
    assert model.epochs_ > 0
    assert model.score(new, truth) > plain.score(new, truth) + 0.03
    assert model.score(new, truth) > static.score(new, truth) + 0.03
    out_of_fold = model.out_of_fold_.argmax(axis=1) == y
    assert out_of_fold.mean() > (plain.out_of_fold_.argmax(axis=1) == y).mean()


def test_where_it_does_not_pay_the_plain_regression_remains(clouds):
    X, y = clouds(60, 4, 3, apart=0.5)
    model, plain = GatedSoftmax().fit(X, y), SoftmaxRegression().fit(X, y)
    assert model.epochs_ == 0
    np.testing.assert_allclose(model.predict_log_proba(X), plain.predict_log_proba(X), atol=1e-5)
    np.testing.assert_array_equal(model.gate_weights(X), 1)
    np.testing.assert_array_equal(model.out_of_fold_, plain.out_of_fold_)


@pytest.mark.parametrize("static", [False, True])
def test_weights_lie_between_zero_and_two_and_come_back_from_a_bundle(in_context, static, monkeypatch):
    monkeypatch.setattr(gated, "EPOCHS", 3)
    monkeypatch.setattr(gated, "STANDARD_ERRORS", -100.0)  # whatever it gains
    X, y, new, _ = in_context
    model = GatedSoftmax(static=static).fit(X, y)
    weights = model.gate_weights(new)
    assert ((weights > 0) & (weights < 2)).all()
    assert weights.std() > 0
    assert (weights == weights[0]).all() == static
    arrays = {}
    again = unpack(pack(model, arrays), arrays)
    np.testing.assert_array_equal(again.predict_log_proba(new), model.predict_log_proba(new))


def test_numpy_and_torch_weigh_alike():
    torch.manual_seed(0)
    gate = FeatureGate(20, start="identity").eval()
    torch.nn.init.normal_(gate.layers[3].weight)
    model = GatedSoftmax()
    model.gate_ = [one.detach().double().numpy() for one in gate.parameters()]
    rows = torch.randn(7, 20)
    np.testing.assert_allclose(model._gate(rows.double().numpy()), gate(rows).detach().numpy(), atol=1e-5)


def test_what_weights_cost_turns_features_down(in_context, monkeypatch):
    monkeypatch.setattr(gated, "EPOCHS", 10)
    monkeypatch.setattr(gated, "STANDARD_ERRORS", -100.0)
    X, y, new, _ = in_context
    free, dear = (GatedSoftmax(sparsity=cost).fit(X, y).gate_weights(new).mean() for cost in (0.0, 30.0))
    assert dear < free - 0.05


# --- the module


def test_shapes_and_size_are_those_of_the_paper():
    gate = FeatureGate(2048)
    assert sum(one.numel() for one in gate.parameters()) == 524_288
    weights = gate(torch.randn(3, 2048))
    assert weights.shape == (3, 2048)
    assert ((weights > 0) & (weights < 1)).all()


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("static", [False, True])
def test_the_identity_start_leaves_features_as_they_are(bias, static):
    x = torch.randn(3, 40)
    assert (FeatureGate(40, bias=bias, start="identity", static=static)(x) == 1).all()


def test_the_papers_start_halves_them():
    x = torch.randn(3, 40)
    assert (FeatureGate(40, static=True)(x) == 0.5).all()
