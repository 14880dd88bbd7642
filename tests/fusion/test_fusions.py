"""What holds for every registered fusion."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.model_selection import cross_val_score

from manyeyes.features.table import FeatureTable
from manyeyes.fusion import FUSIONS
from manyeyes.fusion.fusion import Fusion

pytestmark = pytest.mark.usefixtures("fast_descent")

Labels = npt.NDArray[np.int64]
Clouds = Callable[..., tuple[FeatureTable, Labels]]
every_fusion = pytest.mark.parametrize("name", FUSIONS.names())


def fresh(name: str, **options: Any) -> Fusion:
    """A fusion with the expert that is quick to fit."""
    if "expert" in FUSIONS[name]().get_params():
        options["expert"] = "kernel-ridge"
    fusion: Fusion = FUSIONS[name](**options)
    return fusion


@pytest.fixture(scope="module", params=FUSIONS.names())
def fitted(request: pytest.FixtureRequest, clouds: Clouds) -> Fusion:
    table, y = clouds(60)
    return fresh(request.param).fit(table, np.array(["cat", "dog", "owl"])[y])


@pytest.fixture(scope="module")
def new(clouds: Clouds) -> tuple[FeatureTable, Labels]:
    return clouds(200, seed=1)


def test_it_predicts_better_than_chance_and_in_probabilities(fitted: Fusion, new: tuple[FeatureTable, Labels]) -> None:
    table, y = new
    proba = fitted.predict_proba(table)
    assert fitted.classes_.tolist() == ["cat", "dog", "owl"]
    assert proba.shape == (200, 3)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert np.array_equal(fitted.classes_[proba.argmax(axis=1)], fitted.predict(table))
    assert (proba.argmax(axis=1) == y).mean() > 0.55


def test_other_order_and_other_blocks_change_nothing(fitted: Fusion, new: tuple[FeatureTable, Labels]) -> None:
    table, _ = new
    wider = FeatureTable({"z": np.ones((200, 7), np.float32), **table.select(["c", "a", "b"]).blocks})
    assert np.array_equal(fitted.predict_log_proba(wider), fitted.predict_log_proba(table))


def test_missing_blocks_are_named(fitted: Fusion, new: tuple[FeatureTable, Labels]) -> None:
    with pytest.raises(ValueError, match="the feature table lacks the blocks a, c"):
        fitted.predict(new[0].select(["b"]))


def test_an_array_is_no_table_of_three_blocks(fitted: Fusion, new: tuple[FeatureTable, Labels]) -> None:
    with pytest.raises(ValueError, match="the feature table lacks the blocks a, b, c"):
        fitted.predict(new[0].concatenated())


def test_a_block_of_other_width_is_refused(fitted: Fusion, new: tuple[FeatureTable, Labels]) -> None:
    table, _ = new
    narrower = FeatureTable({**table.blocks, "a": table.blocks["a"][:, :-1], "b": table.blocks["b"][:, :-1]})
    with pytest.raises(ValueError, match="features"):
        fitted.predict(narrower)


def test_features_that_are_no_numbers_are_refused(fitted: Fusion, new: tuple[FeatureTable, Labels]) -> None:
    table = new[0][np.arange(5)]
    table.blocks["b"][2, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        fitted.predict(table)


@every_fusion
@pytest.mark.parametrize("names", [["cat", "dog", "owl"], [0, 5, 9], ["no", "yes"], [False, True]], ids=str)
def test_labels_are_only_names(clouds: Clouds, name: str, names: list[Any]) -> None:
    table, y = clouds(30, len(names))
    plain, named = fresh(name).fit(table, y), fresh(name).fit(table, np.array(names)[y])
    assert named.classes_.tolist() == names
    assert np.array_equal(named.predict(table), np.array(names)[plain.predict(table)])
    assert np.array_equal(named.predict_log_proba(table), plain.predict_log_proba(table))


@every_fusion
def test_labels_may_be_a_list_or_a_column(clouds: Clouds, name: str) -> None:
    table, y = clouds(30)
    expected = fresh(name).fit(table, y).predict_log_proba(table)
    assert np.array_equal(fresh(name).fit(table, y.tolist()).predict_log_proba(table), expected)
    with pytest.warns(UserWarning, match="column-vector"):
        column = fresh(name).fit(table, y[:, None])
    assert np.array_equal(column.predict_log_proba(table), expected)


@every_fusion
def test_a_plain_array_is_a_table_of_one_block(clouds: Clouds, name: str) -> None:
    table, y = clouds(40, apart=[1.0])
    X = table.blocks["a"]
    from_array, from_table = fresh(name).fit(X, y), fresh(name).fit(table, y)
    assert np.array_equal(from_array.predict_log_proba(X), from_table.predict_log_proba(table))


@every_fusion
def test_the_same_seed_gives_the_same_model(clouds: Clouds, name: str) -> None:
    table, y = clouds(40)
    one, again = (fresh(name, random_state=3).fit(table, y).predict_log_proba(table) for _ in range(2))
    assert np.array_equal(one, again)


@every_fusion
def test_a_class_of_one_photo_is_learnt(clouds: Clouds, name: str) -> None:
    table, y = clouds(30)
    y = np.where(np.arange(30) == 0, 3, y)
    model = fresh(name).fit(table, y)
    assert model.classes_.tolist() == [0, 1, 2, 3]
    assert np.isfinite(model.predict_log_proba(table)).all()


@every_fusion
def test_one_photo_a_class_is_enough(clouds: Clouds, name: str) -> None:
    table, y = clouds(3)
    proba = fresh(name).fit(table, y).predict_proba(table)
    np.testing.assert_allclose(proba.sum(axis=1), 1)


@every_fusion
def test_balanced_weights_find_more_of_a_rare_class(clouds: Clouds, name: str) -> None:
    table, y = clouds(200, 2, apart=[0.6, 0.6], p=[0.92, 0.08])
    new, truth = clouds(400, 2, apart=[0.6, 0.6], seed=1)
    recalls = [
        (fresh(name, class_weight=weight).fit(table, y).predict(new)[truth == 1] == 1).mean()
        for weight in (None, "balanced")
    ]
    # How much there is to gain depends on how much a method finds without weights: from 0.06 to 0.4 here.
    assert recalls[0] + 0.05 < recalls[1]


@every_fusion
def test_rows_and_labels_of_different_number_are_refused(clouds: Clouds, name: str) -> None:
    table, y = clouds(30)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        fresh(name).fit(table, y[:-1])


@every_fusion
def test_one_class_is_refused(clouds: Clouds, name: str) -> None:
    with pytest.raises(ValueError, match="at least two classes, found 1 class"):
        fresh(name).fit(clouds(10)[0], ["cat"] * 10)


def test_scikit_learn_cross_validates_on_tables(clouds: Clouds) -> None:
    table, y = clouds(90)
    assert cross_val_score(fresh("mixture", gate="uniform"), table, y, cv=3).mean() > 0.55


@every_fusion
def test_copies_of_a_photo_teach_no_confidence_when_they_are_grouped(name: str) -> None:
    rng = np.random.default_rng(0)
    # Thirty films of four all but equal frames, whose labels nothing tells: only a frame's twins give it away.
    films = rng.normal(size=(30, 6)).astype(np.float32)
    table = FeatureTable({block: np.repeat(films, 4, axis=0) + rng.normal(0, 1e-3, (120, 6)) for block in "ab"})
    y, groups = np.repeat(rng.permutation(np.arange(30) % 2), 4), np.repeat(np.arange(30), 4)
    new = FeatureTable({block: rng.normal(size=(200, 6)) for block in "ab"})

    fooled = fresh(name).fit(table, y).predict_proba(new).max(axis=1).mean()
    sober = fresh(name).fit(table, y, groups).predict_proba(new).max(axis=1).mean()
    assert sober < 0.6
    assert sober < fooled
