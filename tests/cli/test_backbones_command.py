"""``manyeyes backbones``: cards and weights."""

import json

import pytest

from manyeyes.backbones.zoo import ZOOS, known_cards, read_zoo


def test_the_list_holds_every_card_and_fits_the_terminal(run):
    done = run("backbones", "list")
    assert done.status == 0
    for name in (*ZOOS.names(), *known_cards()):
        assert name in done.out
    assert "not declared" in done.out


def test_the_list_of_one_zoo(run):
    names = [line.split()[0] for line in run("backbones", "list", "lite").out.splitlines()[2:]]
    assert names == [card.name for card in ZOOS["lite"]][1:]
    assert "'big' is not one of the zoos: choose from lite, mirror" in run("backbones", "list", "big").error


def test_show_is_the_card_as_json(run):
    record = json.loads(run("backbones", "show", "mobilenet-v2").out)
    assert record.pop("on_this_machine") is None
    assert record == json.loads(json.dumps(known_cards()["mobilenet-v2"].to_dict()))
    assert "'mobilenet-v9' is no zoo" in run("backbones", "show", "mobilenet-v9").error


@pytest.mark.parametrize("words", [["mobilenet-v2"], ["mobilenet-v2", "--offline"]])
def test_pull_without_a_network_says_where_to_do_it(run, words):
    error = run("backbones", "pull", *words).error
    assert "run `manyeyes backbones pull mobilenet-v2` where there is a network" in error


def test_pull_keeps_to_the_licence(run):
    assert "--accept-undeclared-licence" in run("backbones", "pull", "xception-keras").error


def test_pull_brings_weights_once(run, world, tmp_path, monkeypatch):
    monkeypatch.setenv("MANYEYES_HOME", str(tmp_path))
    first, second = (run("backbones", "pull", *world.fast_zoo.split(",")) for _ in range(2))
    assert first.status == second.status == 0
    assert first.err == "tint: fetched and verified\nedges: fetched and verified\n"
    assert second.err == "tint: already here\nedges: already here\n"
    assert first.out == second.out
    assert all(path.startswith(str(tmp_path / "weights")) for path in first.out.splitlines())
    shown = json.loads(run("backbones", "show", world.fast_zoo.partition(",")[0]).out)
    assert shown["on_this_machine"] == first.out.splitlines()[0]


def test_choose_takes_what_is_worth_its_time(run, world):
    done = run("backbones", "choose", world.photos, "--zoo", world.fast_zoo, "--sample", 30)
    assert done.status == 0, done.err
    assert "30 photos looked at by 2 backbones" in done.err
    chosen = read_zoo(done.out.splitlines()[-1].removeprefix("--zoo "))
    assert chosen and set(chosen) <= set(read_zoo(world.fast_zoo))
    record = json.loads(run("backbones", "choose", world.photos, "--zoo", world.fast_zoo, "--json").out)
    assert record["milliseconds"].keys() == {"tint", "edges"}
    assert all(one["cost"] == pytest.approx(record["milliseconds"][one["backbone"]]) for one in record["chosen"])


def test_choose_within_a_budget_of_nothing_takes_one(run, world):
    done = run("backbones", "choose", world.photos, "--zoo", world.fast_zoo, "--budget", 0)
    assert done.out.splitlines()[-1].removeprefix("--zoo ") in world.fast_zoo.split(",")
