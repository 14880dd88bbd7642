from typing import get_args

import numpy as np
import pytest

from manyeyes.errors import ChoiceError
from manyeyes.features.table import FeatureTable
from manyeyes.fusion.auto import Auto
from manyeyes.fusion.cascade import Cascade
from manyeyes.fusion.frontier import By
from manyeyes.fusion.picking import risk_for_cost
from manyeyes.state import pack, unpack

COSTS = {"cheap": 1.0, "dear": 4.0}


def world(rows: int, seed: int = 0, clear: bool = True):
    """Of light photos the cheap backbone sees what is in them, of dark ones it does not; the dear one sees all.

    Where it is not clear which photos are dark, thumbnails are noise.
    """
    random = np.random.default_rng(seed)
    labels, is_dark = random.integers(0, 3, rows), random.random(rows) < 0.4
    centres = 4 * np.eye(3)[labels]
    cheap = np.where(is_dark[:, None], 0, centres) + random.normal(size=(rows, 3))
    blocks = {"cheap": cheap, "dear": centres + random.normal(size=(rows, 3))}
    light = np.where(is_dark, 40, 200)[:, None, None, None] if clear else 120
    thumbnails = (light + random.integers(-30, 30, (rows, 64, 64, 3))).astype(np.uint8)
    return FeatureTable({k: b.astype(np.float32) for k, b in blocks.items()}, thumbnails), labels, is_dark


@pytest.fixture(scope="module", params=["thumbnail", "both"])
def fitted(request):
    table, labels, _ = world(400)
    return Cascade(Auto(), COSTS, 0.55, request.param).fit(table, labels)


def test_the_gate_looks_further_at_photos_that_want_it(fitted) -> None:
    table, labels, is_dark = world(300, seed=1)
    run = fitted.run_on(table)
    assert run.stages[is_dark].mean() > 0.9
    assert run.stages[~is_dark].mean() < 0.15
    assert fitted.score(table, labels) > fitted.stages_[0].score(table, labels) + 0.15
    assert fitted.spent(run.stages)[0] < 0.65


def test_asked_in_turn_and_all_at_once_it_stops_at_the_same_stages(fitted) -> None:
    table, _, _ = world(100, seed=2)
    looks = fitted.looks(fitted.opinions_of_stages(table), table)
    np.testing.assert_array_equal(looks.stops(fitted.price_), fitted.run_on(table).stages)


def test_another_budget_wants_no_training(fitted) -> None:
    table, _, _ = world(200, seed=3)
    again = unpack(pack(fitted, arrays := {}), arrays)
    spent = [again.spent(again.spend(budget).run_on(table).stages)[0] for budget in (0.5, 0.6, 0.8, 1.0)]
    assert spent == sorted(spent)
    np.testing.assert_array_equal(again.predict_proba(table), again.stages_[-1].predict_proba(table))


def test_saved_and_read_again_it_says_the_same(fitted) -> None:
    table, _, _ = world(50, seed=4)
    again = unpack(pack(fitted, arrays := {}), arrays)
    np.testing.assert_array_equal(again.predict_proba(table), fitted.predict_proba(table))


def test_without_a_backbone_the_other_answers(fitted) -> None:
    table, _, _ = world(50, seed=5)
    left = fitted.without({"dear"})
    np.testing.assert_allclose(left.predict_proba(table), fitted.stages_[0].predict_proba(table), atol=1e-12)


def test_where_thumbnails_say_nothing_all_photos_are_looked_at_alike() -> None:
    table, labels, _ = world(200, clear=False)
    cascade = Cascade(Auto(), COSTS, 1.0, "thumbnail").fit(table, labels)
    assert len(set(cascade.spend(0.9).run_on(table).stages)) == 1


def test_a_gate_that_sees_no_thumbnails_is_refused() -> None:
    table, labels, _ = world(60)
    with pytest.raises(ChoiceError, match="'embedding' sees no thumbnails"):
        Cascade(Auto(), COSTS, 0.5, "both", "embedding").fit(table, labels)
    with pytest.raises(ChoiceError, match=", ".join(get_args(By))):
        Cascade(Auto(), COSTS, 0.5, "chance").fit(table, labels)  # type: ignore[arg-type]


def test_the_price_of_cost_is_the_least_that_fits_the_budget() -> None:
    risks, costs = np.array([0.3, 0.2, 0.19]), np.array([0.1, 0.2, 1.0])
    for budget in (0.1, 0.2, 1.0):
        price = risk_for_cost(risks, costs, budget)
        assert costs[(risks + price * costs).argmin()] == budget
    assert risk_for_cost(risks, costs, 1.0) == 0


def test_choices_that_cost_the_same_are_told_by_risk_alone() -> None:
    assert risk_for_cost(np.array([0.2, 0.1, 0.1]), np.array([0.5, 0.5, 1.0]), 0.5) == 0
