"""A whole decathlon, of two small domains."""

import dataclasses

import pytest
import torch
from small_world import write_photos
from tiny import same, some_photos, state_of

from manyeyes.adapt.adapting import Course, open_bank, split_off
from manyeyes.adapt.training.recipe import Recipe
from manyeyes.backbones.zoo import read_zoo
from manyeyes.images import read_photos
from manyeyes.study.decathlon import run as running
from manyeyes.study.decathlon.domains import DomainPhotos
from manyeyes.study.decathlon.methods import RATES, TITLES, learn, plan_for
from manyeyes.study.decathlon.report import make_table, multiple, page
from manyeyes.study.decathlon.run import Race, Result, run, work_folder

RECIPE = Recipe(epochs=2, batch=12, optimiser="sgd", rate=0.05)


@pytest.fixture(scope="module")
def race(made_world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("decathlon")
    write_photos(folder / "a/b ü", ["x", "y"], count=6)
    (card,) = read_zoo(made_world.zoo.rpartition(",")[2])
    domains = [
        DomainPhotos("colours", read_photos(made_world.photos), most_per_class=4, most_judged=4, size=32),
        DomainPhotos("a/b ü", read_photos(folder / "a/b ü"), flip=False, size=48),
    ]
    return Race(card, domains, list(TITLES), recipe=RECIPE)


def make_small(patch):
    """All in this process, since others take seconds to import what they need; and a few steps of training."""
    patch.setenv("LOKY_MAX_CPU_COUNT", "1")
    patch.setattr(running, "LEAST_STEPS", 2)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    make_small(monkeypatch)


@pytest.fixture(scope="module")
def ran(race, made_world, tmp_path_factory):
    """The folder and the results of a race by all methods."""
    work, told = tmp_path_factory.mktemp("work"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MANYEYES_HOME", str(made_world.home))
        make_small(patch)
        results = run(race, work, told.append)
    assert sum(told) == len(results)
    return work, results


def test_every_method_is_run_in_every_domain(ran, race):
    _, results = ran
    assert sorted((one.method, one.domain) for one in results) == sorted(
        (method, domain.name) for method in TITLES for domain in race.domains
    )
    for one in results:
        assert 0 <= one.accuracy <= 1
        assert one.loss > 0
        assert one.seconds > 0
        assert (one.trained_on, one.judged) == {"colours": (12, 12), "a/b ü": (6, 6)}[one.domain]
    assert {one.domain: one.accuracy for one in results if one.method == "feature"}["colours"] > 0.5


def test_parameters_are_those_of_the_paper(ran, race, world):
    _, results = ran
    bank, _ = open_bank(race.card, 32)
    backbone, norms = bank.backbone_size(), bank.norms_size()
    own = {method: {one.own for one in results if one.method == method} for method in TITLES}
    assert own["scratch"] == own["full"] == {backbone}
    assert own["feature"] == {0}
    assert own["norms"] == {norms}
    for method in ("series", "parallel"):
        assert own[method] == {plan_for(method, bank, race.budget).size(bank.sites) + norms}
        assert max(own[method]) < 0.1 * backbone + 1
    (shared,) = {one.shared for one in results if one.method == "parallel-svd"}
    assert shared > 0
    assert multiple([one for one in results if one.method == "full"], backbone) == pytest.approx(2)
    assert 1.15 < multiple([one for one in results if one.method == "parallel"], backbone) <= 1.2
    assert 1 < multiple([one for one in results if one.method == "parallel-svd"], backbone) < 1.3


def test_run_again_nothing_is_trained_again(ran, race, world, monkeypatch):
    work, results = ran

    def never(*given, **named):
        raise AssertionError("this was trained before")

    for name in ("learn", "train", "open_bank"):
        monkeypatch.setattr(running, name, never)
    again = run(race, work)
    assert sorted(again, key=str) == sorted(results, key=str)
    # What was lost is run once more, and that alone.
    (lost,) = work.glob("norms-colours-*.json")
    lost.unlink()
    with pytest.raises(AssertionError, match="this was trained before"):
        run(race, work)
    monkeypatch.undo()
    monkeypatch.setenv("MANYEYES_HOME", str(world.home))
    make_small(monkeypatch)
    learnt = []
    monkeypatch.setattr(running, "learn", lambda *given: learnt.append(given[0]) or learn(*given))
    once_more = run(race, work)
    assert learnt == ["norms"]
    assert {(one.method, one.domain, one.loss) for one in once_more} == {
        (one.method, one.domain, one.loss) for one in results
    }


def test_compressed_adapters_alone_train_the_uncompressed_ones_first(race, world, tmp_path):
    alone = dataclasses.replace(race, methods=["parallel-svd"], recipe=dataclasses.replace(RECIPE, epochs=1))
    results = run(alone, tmp_path)
    assert {one.method for one in results} == {"parallel-svd"}
    assert len(list(tmp_path.glob("parallel-*.safetensors"))) == 2


def test_another_race_has_another_folder(race):
    others = [
        dataclasses.replace(race, budget=1.2),
        dataclasses.replace(race, keep=0.5),
        dataclasses.replace(race, recipe=dataclasses.replace(RECIPE, epochs=3)),
        dataclasses.replace(race, domains=race.domains[:1]),
        dataclasses.replace(race, domains=[dataclasses.replace(race.domains[0], flip=False), race.domains[1]]),
        dataclasses.replace(race, domains=[dataclasses.replace(race.domains[0], train=0.4), race.domains[1]]),
    ]
    assert len({work_folder(one) for one in [race, *others]}) == 7
    # Further seeds, methods and numbers of photos are added to what is there.
    more = dataclasses.replace(race, seeds=range(3), per_class=(1, 2), methods=["full"])
    assert work_folder(more) == work_folder(race)


def test_methods_change_what_is_theirs(race, world):
    photos = some_photos(24)
    rows = split_off("x", photos)
    for method in TITLES:
        if method == "parallel-svd":
            continue
        bank, _ = open_bank(race.card, 32)
        before = state_of(bank.network)
        learn(method, bank, Course("x", photos, rows.train, rows.held), RECIPE, 1.1)
        bank.switch(None)
        assert same(state_of(bank.network), before) == (method != "scratch")
        adapters = bank["x"].adapters
        assert bool(adapters) == (method in ("series", "parallel"))
        assert bank["x"].keeps_statistics == (method != "scratch")
    assert set(RATES) <= set(TITLES)
    torch.manual_seed(0)


# --- tables


def result(method, domain="a", seed=0, accuracy=0.5, per_class=0, own=10, shared=0):
    return Result(method, domain, seed, per_class, accuracy, 1.0, own, shared, 2.0, 6, 4)


RESULTS = [
    result("full", "a", 0, 0.8, own=1000),
    result("full", "b", 0, 0.6, own=1000),
    result("parallel", "a", 0, 0.9, own=50),
    result("parallel", "a", 1, 0.8, own=50),
    result("parallel", "b", 0, 0.6, own=50),
    result("parallel", "b", 1, 0.7, own=50),
]


def cells(table):
    return {tuple(row[: table.words]): row[table.words :] for row in table.rows}


def test_a_column_for_each_method():
    table = make_table(RESULTS, 1000)
    assert table.head == ["", "full fine-tuning", "parallel adapters"]
    assert [row[0] for row in table.rows] == ["a", "b", "mean", "parameters", "score", "seconds"]
    found = cells(table)
    assert found[("a",)] == ["80.0", "85.0 ± 7.1"]
    assert found[("b",)] == ["60.0", "65.0 ± 7.1"]
    assert found[("mean",)] == ["70.0", "75.0 ± 0.0"]
    assert found[("parameters",)] == ["2.00×", "1.10×"]
    assert found[("seconds",)] == ["4", "4"]
    full, parallel = map(int, found[("score",)])
    assert full == 500 < parallel
    assert ("score",) not in cells(make_table(RESULTS[2:], 1000))


def test_lines_for_each_number_of_photos():
    few = [dataclasses.replace(one, per_class=5, accuracy=one.accuracy / 2) for one in RESULTS]
    table = make_table([*RESULTS, *few], 1000)
    assert table.head == ["photos a class", "", "full fine-tuning", "parallel adapters"]
    found = cells(table)
    assert [found[key][0] for key in (("5", "mean"), ("5", "a"), ("all", "b"))] == ["35.0", "40.0", "60.0"]
    assert found["5", "score"][0] == found["all", "score"][0] == "500"


def test_a_domain_may_be_called_as_a_line_of_the_table():
    table = make_table([dataclasses.replace(one, domain="mean") for one in RESULTS if one.domain == "a"], 1000)
    assert [row[0] for row in table.rows].count("mean") == 2


def test_the_page_says_what_made_it(ran, race):
    _, results = ran
    table = make_table(results, 372_688)
    text = page(race, results, table, "manyeyes decathlon x.toml")
    assert text.startswith("# A decathlon of 2 domains, from tiny\n")
    assert "colours (3 classes, 12 to train, 12 to judge); a/b ü (2 classes, 6 to train, 6 to judge)" in text
    assert "| --- | ---: |" in text
    assert text.count(" | parallel, compressed |\n") == 1
    assert "Made by `manyeyes decathlon x.toml` with manyeyes " in text
