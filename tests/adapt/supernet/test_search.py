"""The search: it finds what is best at its cost, asks for nothing twice, and goes on where it was stopped."""

import itertools

import numpy as np
import pytest

from manyeyes.adapt.supernet.front import on_front
from manyeyes.adapt.supernet.search import LOST, Candidate, search, within
from manyeyes.adapt.supernet.space import Gene, PathSpace
from manyeyes.adapt.tasks.objective import Score
from manyeyes.errors import AdaptError

SPACE = PathSpace(tuple(Gene(f"block {number}", "width", (1.0, 0.75, 0.5)) for number in range(6)))
# What each gene's values cost in loss: some blocks matter, others do not.
HARM = np.array([[0, 0.1, 0.9], [0, 0.0, 0.01], [0, 0.3, 0.4], [0, 0.02, 0.03], [0, 0.5, 0.6], [0, 0.001, 0.2]])


def judge(path):
    loss = float(HARM[np.arange(6), path].sum())
    return Score(loss, {"accuracy": 1 - loss / 3})


def macs(path):
    return 1000 - 60 * sum(path) - 13 * path[1]


def test_it_comes_close_to_the_true_front():
    every = [Candidate(path, judge(path), macs(path)) for path in itertools.product(range(3), repeat=6)]
    truth, found = every, search(SPACE, judge, macs, population=24, generations=12)
    assert len(found) < len(every) / 2
    assert {SPACE.full, SPACE.smallest} <= {one.path for one in found}
    for budget in (1000, 800, 600, 400):
        assert within(found, budget).score.loss <= within(truth, budget).score.loss + 0.05
    random = np.random.default_rng(0)
    drawn = [Candidate(path, judge(path), macs(path)) for path in (SPACE.sample(random) for _ in range(len(found)))]
    assert np.mean([within(found, budget).score.loss for budget in (900, 800, 700, 600, 500)]) < np.mean(
        [within(drawn, budget).score.loss for budget in (900, 800, 700, 600, 500)]
    )


def test_nothing_is_judged_twice_and_the_same_seed_asks_for_the_same():
    asked = []
    first = search(SPACE, lambda path: (asked.append(path), judge(path))[1], macs, 8, 4, seed=3)
    assert len(asked) == len(set(asked)) == len(first)
    assert search(SPACE, judge, macs, 8, 4, seed=3) == first
    assert search(SPACE, judge, macs, 8, 4, seed=4) != first


def test_a_search_that_was_stopped_goes_on(tmp_path):
    whole, asked = search(SPACE, judge, macs, 8, 5, seed=1), []

    def some(path):
        if len(asked) == 13:
            raise KeyboardInterrupt
        asked.append(path)
        return judge(path)

    with pytest.raises(KeyboardInterrupt):
        search(SPACE, some, macs, 8, 5, seed=1, kept=tmp_path / "search.json")
    again = []
    found = search(SPACE, lambda path: (again.append(path), judge(path))[1], macs, 8, 5, 1, tmp_path / "search.json")
    assert found == whole
    assert set(asked) | set(again) == {one.path for one in whole}
    assert not set(asked) & set(again)


@pytest.mark.parametrize(
    "text",
    [
        "no JSON",
        "[[[0, 0], 1.0, {}, 3]]",
        "[[[0, 0, 0, 0, 0, 9], 1.0, {}, 3]]",
        "[1]",
        "[[[0, 0, 0, 0, 0, 0], 1.0, 0.5]]",
    ],
)
def test_a_file_of_another_search_is_told_of(tmp_path, text):
    (tmp_path / "search.json").write_text(text)
    with pytest.raises(AdaptError, match=r"search.json is of another search: delete it to begin anew"):
        search(SPACE, judge, macs, 4, 2, kept=tmp_path / "search.json")


def test_a_budget_that_no_path_meets_is_told_of():
    with pytest.raises(AdaptError, match=r"no path takes 0.0 million MACs or fewer: the smallest takes 0.0"):
        within([Candidate((0,), Score(1.0, {}), 500)], 400)


def test_a_front_has_none_to_which_another_is_better_in_all():
    losses, costs = [1, 2, 2, 3, 0.5, 0.5], [5, 3, 4, 3, 9, 8]
    assert on_front(losses, costs) == [1, 0, 5]


def test_a_search_ends_when_there_is_nothing_left_to_ask():
    few = PathSpace((Gene("a", "keep", (1.0, 0.0)), Gene("b", "keep", (1.0, 0.0))))
    found = search(few, lambda path: Score(float(sum(path)), {}), lambda path: 10 - sum(path), 8, 5)
    assert {one.path for one in found} == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_a_path_that_comes_to_no_number_is_never_the_best(tmp_path):
    def broken(path):
        return Score(float("nan"), {"accuracy": float("nan")}) if path == SPACE.smallest else judge(path)

    for _ in range(2):  # and is known afterwards
        found = search(SPACE, broken, macs, 6, 2, kept=tmp_path / "search.json")
        (lost,) = [one for one in found if one.path == SPACE.smallest]
        assert lost.score.loss == LOST
        assert within(found, macs(SPACE.full)).path != SPACE.smallest
