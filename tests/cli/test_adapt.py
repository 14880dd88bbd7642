"""``manyeyes adapt``: photos in, a small file out, and a backbone that nobody need tell from others."""

import csv
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from child import Child
from PIL import Image
from small_world import write_photos

from manyeyes.adapt.adapting import load_bank
from manyeyes.adapt.domain_file import read_header
from manyeyes.adapt.training import checkpoint, loop
from manyeyes.backbones.backbone import FINAL, Backbone
from manyeyes.backbones.zoo import read_zoo
from manyeyes.cli.main import main
from manyeyes.experts import softmax

STRENGTHS = (0.01, 1.0)  # that the head which training begins with is chosen from
FAST = ["--epochs", 2, "--size", 32, "--batch", 8]


@pytest.fixture
def tiny(world) -> str:
    return world.zoo.rpartition(",")[2]


@pytest.fixture
def adapt(run, tiny, tmp_path, monkeypatch):
    """``adapt(photos, …)`` with the small world's net, for two epochs at 32 pixels, into tmp_path / "d"."""

    monkeypatch.setattr(softmax, "STRENGTHS", STRENGTHS)

    def command(*words):
        return run("adapt", *words, "-o", tmp_path / "d", "--backbone", tiny, *FAST)

    return command


def photos_of(bank, count=3):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, bank.size, bank.size, 3), np.uint8))


def state_of(path):
    bank, _ = load_bank(path)
    return {f"{name} {key}": tensor for name in bank.names for key, tensor in bank[name].state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(tensor, other[key]) for key, tensor in one.items())


# --- what comes out


def test_photos_become_a_domain_that_is_right_about_those_held_out(adapt, world, tmp_path):
    done = adapt(world.photos)
    assert done.status == 0, done.err
    assert "photos: 3 classes, 31 photos to train on, 5 to stop by, 0 to judge by in the end\n" in done.err
    assert "% right on the photos to stop by\n" in done.out
    assert read_header(tmp_path / "d").facts["photos"]["task"] == {"name": "classification"}
    assert done.out.splitlines()[-1].startswith(f"photos saved in {tmp_path / 'd'}: 1.")
    assert done.out.splitlines()[-1].endswith(" times the parameters of tiny, heads aside")
    header = read_header(tmp_path / "d")
    assert header.classes == {"photos": ("apple", "leaf", "sea")}
    assert (header.size, header.card.name) == (32, "tiny")
    facts = header.facts["photos"]
    assert facts["plan"]["method"] == "parallel"
    assert [epoch["epoch"] for epoch in facts["trainings"][0]["epochs"]] == [1, 2]
    bank, _ = load_bank(tmp_path / "d")
    assert bank(photos_of(bank), "photos").shape == (3, 3)
    assert (tmp_path / "d").stat().st_size < sum(path.stat().st_size for path in (world.folder / "tiny").iterdir())
    assert not list((world.home / "training").iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


@pytest.mark.parametrize("method", ["series", "lowrank", "norms"])
def test_every_method_and_option_reaches_the_domain(adapt, world, tmp_path, method):
    where = [] if method == "norms" else ["--adapters", "mid,late", "--rank", "late=3", "--dropout", 0.1]
    options = ["--method", method, *where, "--statistics", "own", "--seed", 7]
    options += ["--optimiser", "adamw", "--rate", 0.001, "--schedule", "step", "--warm-up", 0.5, "--clip", 0]
    options += ["--decay", 0.01, "--no-flip", "--precision", "bf16", "--patience", 1]
    done = adapt(world.photos, *options)
    assert done.status == 0, done.err
    facts = read_header(tmp_path / "d").facts["photos"]
    plan, recipe = facts["plan"], facts["recipe"]
    assert (plan["method"], plan["statistics"]) == (method, "own")
    assert method == "norms" or (plan["ranks"], plan["dropout"]) == ([0, 8, 3], 0.1)
    wanted = {"optimiser": "adamw", "rate": 0.001, "schedule": "step", "warm_up": 0.5, "clip": 0, "decay": 0.01}
    wanted |= {"flip": False, "precision": "bf16", "patience": 1, "seed": 7, "epochs": 2, "batch": 8}
    assert recipe | wanted == recipe
    bank, _ = load_bank(tmp_path / "d")
    stages = {site.name: site.stage for site in bank.sites}
    adapted = {stages[name] for name in bank["photos"].adapters}
    assert adapted == (set() if method == "norms" else {"mid", "late"})


@pytest.mark.parametrize("method", ["gated", "parallel+gated", "full"])
def test_gates_and_their_options_reach_the_domain_and_the_folded_backbone(adapt, world, tmp_path, method):
    options = ["--method", method, "--fold", tmp_path / "net", "--auxiliary", 0.2, "--frozen", 1]
    if method != "full":
        options += ["--gate-at", "stages", "--gate-start", "paper", "--static-gate", "--sparsity", 0.1]
    done = adapt(world.photos, *options)
    assert done.status == 0, done.err
    header = read_header(tmp_path / "d")
    plan, recipe = header.facts["photos"]["plan"], header.facts["photos"]["recipe"]
    assert plan["method"] == ("parallel" if "parallel" in method else "full")
    bank, _ = load_bank(tmp_path / "d")
    assert bool(bank["photos"].body) == ("parallel" not in method)
    assert (recipe["auxiliary"], recipe["frozen"]) == (0.2, 1)
    assert recipe["body_rate"] == 0.15
    if method != "full":
        assert (plan["gating"]["at"], plan["gating"]["start"], plan["gating"]["static"]) == ("stages", "paper", True)
        assert recipe["sparsity"] == 0.1
        assert set(bank["photos"].gates) == set(bank.stages)
    (card,) = read_zoo(f"local:{tmp_path / 'net'}")
    expected = bank.switch("photos").features(photos_of(bank)).detach().numpy()
    found = Backbone.load(card).embed(photos_of(bank).numpy()).blocks[FINAL]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_what_a_gate_says_is_drawn_and_told(adapt, world, tmp_path):
    done = adapt(world.photos, "--method", "parallel+gated", "--figure", tmp_path / "gate.svg")
    assert done.status == 0, done.err
    assert f"Drawn in {tmp_path / 'gate.svg'}" in done.out
    assert "Weights of a gate over the features, on the mean over photos between " in done.out
    with Image.open(tmp_path / "gate.png") as image:
        assert image.size[0] > 1000


def test_what_was_published_is_trained_but_for_what_is_named(adapt, world, tmp_path):
    done = adapt(world.photos, "--method", "gated", "--faithful", "--frozen", 1)
    assert done.status == 0, done.err
    recipe = read_header(tmp_path / "d").facts["photos"]["recipe"]
    wanted = {"optimiser": "sgd", "rate": 0.01, "nesterov": False, "drifts": True, "cut": "resized", "decay": 1e-4}
    wanted |= {"epochs": 2, "frozen": 1, "auxiliary": 0.2, "dropout": 0.5, "batch": 8, "head_rate": 1.0}
    assert recipe | wanted == recipe
    bank, _ = load_bank(tmp_path / "d")
    assert not bank["photos"].head.bias.any()


def test_the_same_command_makes_the_same_domain_also_where_no_weights_were(adapt, world, tmp_path, monkeypatch):
    assert adapt(world.photos, "--method", "lowrank").status == 0
    first = state_of(tmp_path / "d")
    monkeypatch.setenv("MANYEYES_HOME", str(tmp_path / "home"))
    torch.rand(5)
    for _ in range(2):
        assert adapt(world.photos, "--method", "lowrank").status == 0
        assert same(state_of(tmp_path / "d"), first)


def test_a_budget_is_kept(adapt, world):
    done = adapt(world.photos, "--budget", "1.05x")
    assert done.status == 0
    assert 1.04 < float(done.out.rpartition("d: ")[2].split(" ")[0]) <= 1.05


def test_splits_are_kept_to(adapt, world, tmp_path):
    held_out = sorted(world.held_out.rglob("*.png"))
    rows = [(path, label, "train") for path, label in zip(world.paths, world.labels, strict=True)]
    rows += [(path, path.parent.name, "val" if index % 3 else "test") for index, path in enumerate(held_out)]
    with (tmp_path / "photos of mine.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    done = adapt(tmp_path / "photos of mine.csv")
    assert done.status == 0, done.err
    assert "photos of mine: 3 classes, 36 photos to train on, 6 to stop by, 3 to judge by in the end" in done.err
    assert re.search(
        r"photos of mine: [\d.]+% right on the photos to stop by and [\d.]+% right on the split test\n", done.out
    )


def test_photos_of_the_split_test_change_nothing(adapt, world, tmp_path):
    states = []
    for name in ("one", "two"):
        shutil.copytree(world.photos, tmp_path / name / "p" / "train")
        write_photos(
            tmp_path / name / "p" / "test", ["apple", "leaf", "sea"], count=2, first=20 if name == "one" else 30
        )
        assert adapt(tmp_path / name / "p").status == 0
        states.append(state_of(tmp_path / "d"))
    assert same(*states)


def test_two_classes_and_a_class_of_one_photo(adapt, tmp_path):
    write_photos(tmp_path / "two", ["yes", "no"], count=8)
    done = adapt(tmp_path / "two")
    assert done.status == 0, done.err
    assert "two: 2 classes, 14 photos to train on, 2 to stop by" in done.err
    write_photos(tmp_path / "two", ["rare"], count=1)
    done = adapt(tmp_path / "two")
    assert done.status == 0, done.err
    assert read_header(tmp_path / "d").classes == {"two": ("no", "rare", "yes")}
    write_photos(tmp_path / "fewest", ["a", "b"], count=1)
    done = adapt(tmp_path / "fewest")
    assert done.status == 0, done.err
    assert "fewest: nothing to judge by" in done.out


def test_unreadable_photos_are_left_out_and_named(adapt, tmp_path):
    write_photos(tmp_path / "photos", ["apple", "leaf"], count=9)
    (tmp_path / "photos" / "leaf" / "04.png").write_bytes(b"no photo")
    done = adapt(tmp_path / "photos")
    assert done.status == 0
    assert "leaf/04.png: not an image" in done.err
    assert " 14 photos to train on, 3 to stop by" in done.err
    again = adapt(tmp_path / "photos", "--max-rejected", 0.01)
    assert "1 of 18 photos cannot be used, more than 1%" in again.error


def test_names_with_blanks_and_letters_of_all_kinds(adapt, tmp_path):
    names = ['it\'s [red] "x"', "葉 café", "Straße"]
    write_photos(tmp_path / "-[bold] Blüten", names, count=4)
    done = adapt(tmp_path / "-[bold] Blüten")
    assert done.status == 0, done.err
    assert re.match(r"-\[bold\] Blüten: [\d.]+% right on", done.out)
    assert read_header(tmp_path / "d").classes == {"-[bold] Blüten": tuple(sorted(names))}


# --- several domains


def test_folders_are_told_apart_by_all_of_their_names(adapt, tmp_path):
    for name in ("fruit.a", "fruit.b"):
        write_photos(tmp_path / name, ["a", "b"], count=3)
    done = adapt(tmp_path / "fruit.a", tmp_path / "fruit.b")
    assert done.status == 0, done.err
    assert list(read_header(tmp_path / "d").classes) == ["fruit.a", "fruit.b"]


@pytest.fixture
def two(tmp_path) -> list[Path]:
    write_photos(tmp_path / "one", ["a", "b", "c"], count=6)
    write_photos(tmp_path / "two", ["x", "y"], count=8, first=50)
    return [tmp_path / "one", tmp_path / "two"]


def test_several_domains_share_a_factor_and_a_later_one_joins_them(adapt, run, two, tiny, tmp_path):
    done = adapt(*two, "--compress", 0.5)
    assert done.status == 0, done.err
    assert done.out.splitlines()[-1].startswith(f"2 domains saved in {tmp_path / 'd'}: 1.")
    bank, _ = load_bank(tmp_path / "d")
    assert bank.names == ("one", "two")
    assert bank.shared_size() > 0
    assert len(read_header(tmp_path / "d").facts["one"]["trainings"]) == 2
    shutil.copytree(two[0], tmp_path / "three")
    done = run("adapt", tmp_path / "three", "--into", tmp_path / "d", "-o", tmp_path / "all", *FAST)
    assert done.status == 0, done.err
    more, _ = load_bank(tmp_path / "all")
    assert more.names == ("one", "two", "three")
    assert more.shared_size() == bank.shared_size()
    photos = photos_of(bank)
    assert all(torch.equal(more(photos, name), bank(photos, name)) for name in bank.names)
    norm, source = more["three"].norms["model.bn1"], more.source_norms["model.bn1"]
    assert torch.equal(norm.running_mean, source.running_mean)
    assert "two domains would be called 'one'" in adapt(two[0], "--into", tmp_path / "d").error


def test_without_compression_domains_are_their_own(adapt, two, tmp_path):
    assert adapt(*two).status == 0
    bank, _ = load_bank(tmp_path / "d")
    assert (bank.names, bank.shared_size()) == (("one", "two"), 0)


# --- folded


def test_the_folded_backbone_sees_what_the_adapted_one_sees(adapt, world, tmp_path):
    done = adapt(world.photos, "--fold", tmp_path / "my net")
    assert done.status == 0, done.err
    assert f"the folded backbone is local:{tmp_path / 'my net'}, with 96 features" in done.out
    bank, _ = load_bank(tmp_path / "d")
    (card,) = read_zoo(f"local:{tmp_path / 'my net'}")
    assert (card.name, card.preprocessing.size) == ("my net", 32)
    photos = photos_of(bank)
    expected = bank.switch("photos").features(photos).detach().numpy()
    np.testing.assert_allclose(Backbone.load(card).embed(photos.numpy()).blocks[FINAL], expected, rtol=1e-4, atol=1e-4)


# --- what cannot be


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (
            ["--method", "besides"],
            "'besides' is no method of adapting: choose from parallel, series, lowrank,",
        ),
        (["--method", "gated+parallel"], "'gated+parallel' is no method of adapting"),
        (["--gate-at", "map"], "--gate-at is about gates: --method gated, or …+gated"),
        (["--sparsity", 0.1], "--sparsity is about gates"),
        (["--figure", "gate.svg"], "--figure draws the gate over the features of one domain: --method gated"),
        (
            ["--figure", "gate.svg", "--method", "gated", "--gate-at", "map"],
            "--figure draws the gate over the features",
        ),
        (["--method", "full", "--budget", "1.1x"], "--budget is about adapters"),
        (["--method", "norms", "--compress", "0.5"], "--compress is about adapters"),
        (["--method", "gated", "--rank", "3"], "--rank is about adapters"),
        (["--method", "gated", "--gate-at", "top"], "a gate's at is one of pooled, map, stages, not 'top'"),
        (["--faithful"], "--faithful is about gated transfer of the whole network: --method gated"),
        (["--faithful", "--method", "gated", "--static-gate"], "--static-gate is not what was published"),
        (["--adapters", "first"], "adapters can be early, mid, late or all, not 'first'"),
        (["--rank", "big"], "a rank is a number, or like early=4,mid=8,late=16, not 'big'"),
        (["--statistics", "mine"], "statistics are source or own, not 'mine'"),
        (["--optimiser", "adam"], "optimiser is one of sgd, adamw, not 'adam'"),
        (["--schedule", "linear"], "schedule is one of cosine, step, constant, not 'linear'"),
        (["--precision", "fp8"], "precision is one of fp32, bf16, not 'fp8'"),
        (["--rate", 0], "a rate above 0"),
        (["--dropout", 1], "dropout is a share of 0 or more and below 1"),
        (["--warm-up", -1], "warm-up, clip, decay, auxiliary, sparsity and shares of the rate are 0 or more"),
        (["--budget", "1.0001x"], "1.0001 times the backbone's parameters do not even do for rank 1"),
        (["--rate", "nan"], "the numbers of a recipe are finite"),
        (["--compress", 0.5], "--compress wants several domains to share something"),
        (["--method", "series", "--fold", "net"], "series adapters cannot be folded into weights"),
        (["--fold", "/"], "/ is not empty: choose another folder"),
        (["--rate", 1e30, "--clip", 0, "--warm-up", 0], "may be too high"),
        (["--backbone", "zoological"], "'zoological' is no zoo"),
        (["--backbone", "lite"], "one backbone is wanted; lite names efficientnet-lite0, "),
        (["--into", "gone"], "there is no domain at gone"),
    ],
)
def test_bad_choices_are_one_line(run, world, tiny, tmp_path, words, error, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # An option that is given twice counts as it was given last.
    done = run("adapt", world.photos, "-o", tmp_path / "d", "--backbone", tiny, *FAST, *words)
    assert done.status == 1
    assert error in done.error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words", [["--epochs", 0], ["--size", 3], ["--seed", -1], ["--budget", "x"], ["--budget", "1x"]]
)
def test_values_out_of_range_are_told_as_wrong_usage(run, world, tiny, tmp_path, words):
    done = run("adapt", world.photos, "-o", tmp_path / "d", "--backbone", tiny, *FAST, *words)
    assert done.status == 2
    assert f"Invalid value for '{words[0]}'" in done.err or f"Invalid value for {words[0]}" in done.err


def test_a_place_that_is_not_free_is_refused_before_any_photo_is_read(run, tiny, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    (tmp_path / "folder").mkdir()
    for name, words in (
        ("thesis.txt", "thesis.txt holds no domain of manyeyes"),
        ("folder", "folder is a folder: name a file, such as domain.safetensors"),
        ("thesis.txt/d", "no domain can be written to"),
    ):
        assert words in run("adapt", tmp_path / "no photos", "-o", tmp_path / name, "--backbone", tiny).error
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "thesis.txt"]


def test_sources_that_give_nothing_to_learn_are_one_line(adapt, world, tmp_path):
    assert "cannot be read" in adapt(tmp_path / "gone").error
    write_photos(tmp_path / "one class", ["only"], count=3)
    assert "at least 2 classes are needed, and there is only 'only'" in adapt(tmp_path / "one class").error
    write_photos(tmp_path / "broken", ["a", "b"], count=3)
    for path in (tmp_path / "broken" / "a").iterdir():
        path.write_bytes(b"")
    assert "at least 2 classes are needed" in adapt(tmp_path / "broken", "--max-rejected", 1).error
    splits = [("val" if index % 2 else "test") for index, _ in enumerate(world.paths)]
    text = "path,label,split\n" + "".join(
        f"{path},{label},{split}\n" for path, label, split in zip(world.paths, world.labels, splits, strict=True)
    )
    (tmp_path / "untrained.csv").write_text(text)
    assert "no split is called 'train'" in adapt(tmp_path / "untrained.csv").error
    (tmp_path / "one.csv").write_text(text.replace("apple,test", "apple,train").replace("apple,val", "apple,train"))
    assert "at least 2 classes are needed, and there is only 'apple'" in adapt(tmp_path / "one.csv").error
    assert not (tmp_path / "d").exists()


# --- stopped, and gone on with


def adapt_and_stay(words, steps, answer):
    """Runs the command with a checkpoint at each step, and stays after some of them."""
    loop.EVERY, softmax.STRENGTHS = -1.0, STRENGTHS
    write, done = checkpoint.write, 0

    def counted(*given):
        nonlocal done
        write(*given)
        done += 1
        if done == steps:
            answer.send("here")
            answer.recv()

    checkpoint.write = counted
    torch.set_num_threads(1)
    os.environ["MANYEYES_HOME"], *words = words
    sys.argv = ["manyeyes", *words]
    main()


@pytest.mark.parametrize("steps", [3, 13])
def test_a_killed_run_goes_on_when_the_command_is_given_again(adapt, two, tiny, tmp_path, monkeypatch, steps):
    """Also in the second of two trainings, when all domains have been compressed."""
    options = ["--compress", "0.5", "--method", "lowrank"]
    monkeypatch.setenv("MANYEYES_HOME", str(tmp_path / "home"))
    words = ["adapt", *map(str, two), *options, "-o", str(tmp_path / "d"), "--backbone", tiny, *map(str, FAST), "-q"]
    child = Child(adapt_and_stay, [os.environ["MANYEYES_HOME"], *words], steps)
    assert child.pipe.poll(60)
    assert child.pipe.recv() == "here"
    child.kill()
    assert not (tmp_path / "d").exists()
    assert len(list((tmp_path / "home" / "training").iterdir())) == 1 + (steps > 10)
    taken = []
    step = loop._Run.train_step
    monkeypatch.setattr(loop._Run, "train_step", lambda self: taken.append(self.step) or step(self))
    assert adapt(*two, *options).status == 0
    gone_on, count = state_of(tmp_path / "d"), len(taken)
    assert not list((tmp_path / "home" / "training").iterdir())
    taken.clear()
    assert adapt(*two, *options).status == 0
    assert same(state_of(tmp_path / "d"), gone_on)
    assert len(taken) - count == (steps if steps < 10 else steps - 2)
