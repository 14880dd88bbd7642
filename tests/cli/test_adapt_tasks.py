"""``manyeyes adapt --task``, and with unlabelled photos of the place of use."""

import re
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from small_world import draw, write_photos

from manyeyes.adapt.adapting import load_bank
from manyeyes.adapt.domain_file import read_header
from manyeyes.experts import softmax

FAST = ["--epochs", 2, "--size", 32, "--batch", 8]


@pytest.fixture
def adapt(run, world, tmp_path, monkeypatch):
    monkeypatch.setattr(softmax, "STRENGTHS", (0.01, 1.0))
    tiny = world.zoo.rpartition(",")[2]
    return lambda *words: run("adapt", *words, "-o", tmp_path / "d", "--backbone", tiny, *FAST)


@pytest.fixture
def faces(tmp_path):
    """Men are red and women green, and the old are bright."""
    folder = tmp_path / "faces"
    folder.mkdir()
    for number in range(32):
        age, gender = 20 + number // 4 * 5, number % 2
        colour = (120 + age, 30, 30) if gender == 0 else (30, 120 + age, 30)
        draw(colour, number).save(folder / f"{age}_{gender}_0_201701{number:02}.jpg.chip.jpg", "jpeg")
    (folder / "61_1_20170109142408075.jpg.chip.jpg").write_bytes(b"")
    return folder


@pytest.fixture
def people(tmp_path):
    """Eight to train on and three to find again, each of one colour, by two cameras."""
    folder, random = tmp_path / "people", np.random.default_rng(0)

    def put(part, identity, camera, seed, colour):
        (folder / part).mkdir(parents=True, exist_ok=True)
        name = f"{identity}_c{camera}s1_{seed:06}_00.jpg"
        draw(colour, seed).resize((32, 64)).save(folder / part / name)

    for identity in range(1, 12):
        colour = tuple(random.integers(30, 220, 3).tolist())
        for seed in range(4):
            part = "bounding_box_train" if identity < 9 else "bounding_box_test"
            put(part, f"{identity:04}", 1 + seed % 2, 10 * identity + seed, colour)
        if identity >= 9:
            put("query", f"{identity:04}", 1, 500 + identity, colour)
    put("bounding_box_test", "0000", 2, 900, (9, 9, 9))
    put("bounding_box_test", "-1", 2, 901, (200, 9, 9))
    (folder / "bounding_box_test" / "Thumbs.db").write_bytes(b"x")
    return folder


def test_gender_comes_from_names(adapt, faces, tmp_path):
    done = adapt(faces, "--task", "gender")
    assert done.status == 0, done.err
    assert "left out 1 whose names do not say their labels: 61_1_20170109142408075.jpg.chip.jpg" in done.err
    assert "faces: 2 classes, 28 photos to train on, 4 to stop by, 0 to judge by in the end\n" in done.err
    assert re.search(r"faces: [\d.]+% right on the photos to stop by\n", done.out)
    header = read_header(tmp_path / "d")
    assert header.classes == {"faces": ("female", "male")}
    assert header.facts["faces"]["task"] == {"name": "gender"}


@pytest.mark.parametrize("method", ["parallel", "lowrank", "gated", "norms"])
def test_ages_come_from_names_by_every_method(adapt, faces, tmp_path, method):
    done = adapt(faces, "--task", "age", "--method", method)
    assert done.status == 0, done.err
    assert re.search(r"faces: off by [\d.]+ years on the mean on the photos to stop by\n", done.out)
    facts = read_header(tmp_path / "d").facts["faces"]
    ages = [20.0 + 5 * number for number in range(8)]
    assert facts["task"] == {"name": "age", "ages": ages, "sigma": 2.0, "weight": 1.0}
    assert facts["trainings"][0]["epochs"][0]["held"]["metrics"].keys() == {"mean absolute error"}


def test_ages_come_from_class_folders_and_the_split_test_is_judged(adapt, tmp_path):
    for split in ("train", "test"):
        write_photos(tmp_path / "bins" / split, ["0-20", "21-40", "70+"], count=6, first=50 * (split == "test"))
    done = adapt(tmp_path / "bins", "--task", "age")
    assert done.status == 0, done.err
    assert re.search(
        r"off by [\d.]+ years .* to stop by and off by [\d.]+ years on the mean on the split test\n", done.out
    )
    assert read_header(tmp_path / "d").facts["bins"]["task"]["ages"] == [10.0, 30.5, 75.0]


def test_people_are_found_again_in_the_gallery(adapt, people, tmp_path):
    done = adapt(people, "--task", "re-identification", "--method", "parallel+gated", "--auxiliary", 0.2)
    assert done.status == 0, done.err
    assert "people: 8 classes, 24 photos to train on, 8 to stop by, 16 to judge by in the end\n" in done.err
    figures = r"rank-1 [\d.]+%, mAP [\d.]+%"
    assert re.search(rf"people: {figures} on the photos to stop by and {figures} on query against gallery\n", done.out)
    header = read_header(tmp_path / "d")
    assert header.classes["people"] == tuple(f"{number:04}" for number in range(1, 9))
    assert header.facts["people"]["task"] == {"name": "re-identification", "margin": 0.3, "weight": 1.0}


def test_identities_come_from_class_folders_too(adapt, tmp_path):
    for number in range(2):
        write_photos(
            tmp_path / "dogs", [f"{name}{number}" for name in ("rex", "ida", "bob")], count=4, first=9 * number
        )
    done = adapt(tmp_path / "dogs", "--task", "re-identification")
    assert done.status == 0, done.err
    assert "dogs: 6 classes, 16 photos to train on, 8 to stop by, 0 to judge by in the end\n" in done.err
    assert "rank-1" in done.out


@pytest.fixture
def places(tmp_path):
    """Photos with labels, and others in faint evening light."""
    write_photos(tmp_path / "day", ["apple", "leaf", "sea"], count=10)
    for path in write_photos(tmp_path / "evening", ["known", "to", "nobody"], count=8, first=40):
        pixels = np.asarray(Image.open(path), float) * 0.6 + np.array([80, 40, 0])
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return tmp_path / "day", tmp_path / "evening"


def test_unlabelled_photos_are_learnt_from_and_judged_by(adapt, places, tmp_path):
    day, evening = places
    (evening / "broken.png").write_bytes(b"no photo")
    options = ["--method", "parallel+gated", "--auxiliary", 0.2, "--figure", tmp_path / "gate.svg"]
    done = adapt(day, "--unlabelled", evening, *options)
    assert done.status == 0, done.err
    assert "broken.png: not an image" in done.err
    words = (
        "day: 3 classes, 26 photos to train on, 4 to stop by, 0 to judge by in the end, 24 unlabelled to train on and"
    )
    assert words in done.err
    assert re.search(
        r"day: .*% right, [\d.]+ nats of information about the unlabelled on the photos to stop by", done.out
    )
    header = read_header(tmp_path / "d")
    assert header.classes == {"day": ("apple", "leaf", "sea")}
    assert header.facts["day"]["task"] == {"name": "domain adaptation", "weight": 1.0}
    with_them, _ = load_bank(tmp_path / "d")
    assert adapt(day, "--method", "parallel+gated").status == 0
    without, _ = load_bank(tmp_path / "d")
    assert not torch.equal(with_them["day"].head.weight, without["day"].head.weight)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--task", "colour"], "'colour' is no task: choose from classification, gender, age, re-identification"),
        (["--task", "age"], "the class 'apple' is no age: call it by years, such as 27, 21-30 or 70+"),
        (["--task", "gender"], "--task gender tells two classes apart, and there are 3: apple, leaf, sea"),
        (["--task", "age", "--unlabelled", "x"], "--unlabelled is about classification, not --task age"),
        (["other", "--unlabelled", "x"], "--unlabelled wants one domain"),
        (["--unlabelled", "EMPTY"], "no photos in "),
        (["--unlabelled", "nowhere"], "nowhere"),
    ],
)
def test_what_does_not_go_together_is_one_line(adapt, world, tmp_path, words, error):
    (tmp_path / "empty").mkdir()
    words = [tmp_path / "empty" if word == "EMPTY" else word for word in words]
    assert error in adapt(world.photos, *words).error
    assert not (tmp_path / "d").exists()


def test_what_re_identification_lacks_is_said_before_any_photo_is_read(adapt, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_metric_learning", None)
    assert "pip install 'manyeyes[reid]'" in adapt(tmp_path / "no photos", "--task", "re-identification").error


@pytest.mark.parametrize("task", ["gender", "age", "re-identification", "unlabelled"])
def test_a_smaller_network_is_found_for_every_task(adapt, world, faces, people, tmp_path, monkeypatch, task):
    monkeypatch.setenv("MANYEYES_HOME", str(tmp_path / "home"))  # where tuned paths stay
    search = ["--method", "supernet", "--size", 48, "--macs", "0.8x", "--population", 4, "--generations", 1]
    if task == "unlabelled":
        done = adapt(world.photos, "--unlabelled", people / "query", *search)
    else:
        done = adapt(people if task == "re-identification" else faces, "--task", task, *search)
    assert done.status == 0, done.err
    words = {"gender": "% right", "age": "years on the mean", "re-identification": "rank-1 ", "unlabelled": "nats"}[
        task
    ]
    assert words in done.out
    facts = read_header(tmp_path / "d" / "domain.safetensors").facts
    (found,) = facts.values()
    assert found["task"]["name"] == ("domain adaptation" if task == "unlabelled" else task)
    if task == "re-identification":
        assert "query against gallery" in done.out
    if task == "age":
        assert "years" in (tmp_path / "d" / "front.md").read_text()
