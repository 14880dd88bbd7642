"""``manyeyes fit``: every kind of source, broken files among good ones, and where the model may go."""

import csv
import json
import shutil

import pytest
from PIL import Image
from small_world import write_photos

from manyeyes import ManyEyesClassifier
from manyeyes.adapt import zoo
from manyeyes.home import is_offline

METHODS = [
    "tint+softmax",
    "edges+softmax",
    "best-single",
    "mixture-uniform",
    "concat+softmax",
    "concat+kernel-ridge",
    "stacking",
    "auto",
    "oracle",
]


@pytest.fixture
def fit(run, world, tmp_path):
    """``fit(photos, …)`` with the small world's zoo and a gate that costs no time, into tmp_path / "model"."""

    def command(photos, *words):
        return run("fit", photos, "-o", tmp_path / "model", "--zoo", world.fast_zoo, "--gate", "uniform", *words)

    return command


@pytest.fixture
def photos(tmp_path):
    """A folder of our own, to be spoilt."""
    write_photos(tmp_path / "photos", ["apple", "leaf", "sea"], count=8)
    return tmp_path / "photos"


def break_files(folder):
    """Ten kinds of files that are no photos. Returns their names and what is wrong with each."""
    photo = (folder.parent.parent / "sea" / "00.png").read_bytes()
    jpeg = folder / "cut.jpg"
    Image.effect_noise((64, 64), 50).save(jpeg)
    jpeg.write_bytes(jpeg.read_bytes()[: jpeg.stat().st_size // 2])
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("not a photo")
    (folder / "cut.png").write_bytes(photo[: len(photo) // 2])
    (folder / "page.gif").write_text("<html>404</html>")
    (folder / "clip.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
    (folder / "zeros.bmp").write_bytes(bytes(1000))
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    Image.new("F", (8, 8)).save(folder / "floats.tiff")
    Image.new("1", (20_000, 20_000)).save(folder / "bomb.png")
    return {
        "cut.jpg": "damaged",
        "empty.png": "empty",
        "text.jpg": "not an image",
        "cut.png": "damaged",
        "page.gif": "not an image",
        "clip.heic": "not an image",
        "zeros.bmp": "not an image",
        "gone.jpg": "missing",
        "floats.tiff": "unsupported pixels",
        "bomb.png": "too large",
    }


def read_rejected(folder):
    with (folder / "rejected.csv").open(encoding="utf-8", newline="") as file:
        return {row["path"]: row["reason"] for row in csv.DictReader(file)}


# --- sources


def test_class_folders_are_compared_by_cross_validation(fit, world, tmp_path):
    done = fit(world.photos)
    assert done.status == 0
    assert "36 photos of 3 classes\n" in done.err
    assert "2-fold cross-validation on 36 photos" in done.out
    for method in METHODS:
        assert f"\n{method} " in done.out
    assert done.out.endswith(f"model saved in {tmp_path / 'model'}\n")
    model = ManyEyesClassifier.load(tmp_path / "model")
    assert model.score(world.paths, world.labels) >= 0.9
    card = (tmp_path / "model" / "README.md").read_text()
    assert "| apple | 12 |\n| leaf | 12 |\n| sea | 12 |" in card
    assert all(f"| {method} |" in card for method in METHODS)
    assert not (tmp_path / "model" / "rejected.csv").exists()


def test_split_folders_are_judged_on_what_was_held_out(fit, world, tmp_path):
    shutil.copytree(world.photos, tmp_path / "photos" / "train")
    shutil.copytree(world.held_out, tmp_path / "photos" / "test")
    done = fit(tmp_path / "photos")
    assert done.status == 0
    assert "45 photos of 3 classes, splits test, train" in done.err
    assert "Trained on 36 photos, judged on 9 that were held out from training." in done.out
    assert ManyEyesClassifier.load(tmp_path / "model").facts_["photos"] == 36


def test_a_manifest_whose_held_out_photos_have_a_class_of_their_own(fit, world, tmp_path):
    held_out = sorted(world.held_out.rglob("*.png"))
    rows = [(path, label, "train") for path, label in zip(world.paths, world.labels, strict=True)]
    rows += [(path, path.parent.name.replace("sea", "unheard-of"), "val") for path in held_out]
    with (tmp_path / "photos.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    done = fit(tmp_path / "photos.csv")
    assert done.status == 0
    assert "judged on 6 that were held out" in done.out
    assert ManyEyesClassifier.load(tmp_path / "model").classes_.tolist() == ["apple", "leaf", "sea"]


def test_a_manifest_with_groups(fit, world, tmp_path):
    """Every photo is there twice, in a group of its own: what was trained on is never judged."""
    rows = []
    for number, (path, label) in enumerate(zip(world.paths, world.labels, strict=True)):
        shutil.copy(path, tmp_path / f"{number}.png")
        rows += [(path, label, number), (f"{number}.png", label, number)]
    with (tmp_path / "photos.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "group"), *rows])
    done = fit(tmp_path / "photos.csv")
    assert done.status == 0
    assert "2-fold cross-validation on 72 photos" in done.out


def test_copies_are_told_of_and_never_judged_by_their_twins(fit, world, tmp_path):
    rows = [
        (path, label, "test" if n % 3 == 0 else "train")
        for n, (path, label) in enumerate(zip(world.paths, world.labels, strict=True))
    ]
    twin = next(path for path, _, split in rows if split == "train")
    shutil.copy(twin, tmp_path / "twin.png")
    shutil.copy(twin, tmp_path / "liar.png")
    rows += [(tmp_path / "twin.png", rows[1][1], "test"), (tmp_path / "liar.png", "another", "train")]
    rows += [(world.paths[0], world.labels[0], "test")]
    with (tmp_path / "photos.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    done = fit(tmp_path / "photos.csv")
    assert done.status == 0
    assert "1 photos lie under two classes, byte for byte" in done.err
    assert "1 held-out photos are copies of training photos" in done.err
    assert "judged on 12 that were held out" in done.out


def test_a_manifest_without_a_train_split_is_refused(fit, world, tmp_path):
    (tmp_path / "photos.csv").write_text(f"path,label,split\n{world.paths[0]},a,one\n{world.paths[1]},b,two\n")
    assert "no photo is in the split 'train': the splits are one, two" in fit(tmp_path / "photos.csv").error


def test_one_class_in_the_train_split_is_refused(fit, world, tmp_path):
    rows = "".join(f"{path},{path[-6]},{'train' if path[-6] == '0' else 'test'}\n" for path in world.paths)
    (tmp_path / "photos.csv").write_text(f"path,label,split\n{rows}")
    assert "at least 2 classes are needed, and there is only '0'" in fit(tmp_path / "photos.csv").error


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda at: None, "cannot be read (No such file or directory): give a folder or a manifest"),
        (lambda at: at.mkdir(), "no photos in"),
        (lambda at: at.write_text("x"), "is neither a folder nor a manifest"),
        (lambda at: write_photos(at, ["only"], count=2), "at least 2 classes are needed, and there is only 'only'"),
        (lambda at: write_photos(at, ["", "x"], count=2), "photos of"),
    ],
    ids=["missing", "empty", "a file", "one class", "loose photos"],
)
def test_a_source_without_classes_is_one_line(fit, tmp_path, make, words):
    make(tmp_path / "source")
    done = fit(tmp_path / "source")
    assert done.status == 1
    assert words in done.err
    assert done.error
    assert not (tmp_path / "model").exists()


def test_two_photos_of_each_of_two_classes_are_enough(fit, tmp_path):
    write_photos(tmp_path / "photos", ["a", "b"], count=2)
    assert fit(tmp_path / "photos").status == 0


def test_one_photo_a_class_is_fitted_but_not_compared(fit, tmp_path):
    write_photos(tmp_path / "photos", ["a", "b"], count=1)
    done = fit(tmp_path / "photos")
    assert done.status == 0
    assert "no class has two photos: nothing can be compared" in done.err
    assert "## Results" not in (tmp_path / "model" / "README.md").read_text()


# --- files that are no photos


def test_ten_kinds_of_broken_files_among_good_ones(fit, photos, tmp_path):
    write_photos(photos, ["apple", "leaf", "sea"], count=12, first=8)  # 60 good ones in all
    (photos / "leaf" / "more").mkdir()
    broken = break_files(photos / "leaf" / "more")
    done = fit(photos, "--no-compare")
    assert done.status == 0
    assert "60 photos seen by tint, edges" in done.err
    assert "10 could not be read" in done.err
    found = {path.rpartition("/")[2]: reason for path, reason in read_rejected(tmp_path / "model").items()}
    assert found == broken
    for name in broken:
        assert f"more/{name}: {broken[name]} (" in done.err
    assert "60 photos to train on; 10 could not be read." in (tmp_path / "model" / "README.md").read_text()
    again = fit(photos, "--no-compare", "--max-rejected", "0.1")
    assert "10 of 70 photos cannot be used, more than 10%" in again.error


def test_only_ten_broken_files_are_listed_on_screen(fit, photos, tmp_path):
    for number in range(13):
        (photos / "sea" / f"broken{number:02}.jpg").touch()
    done = fit(photos, "--no-compare", "--max-rejected", "0.5")
    assert done.err.count("left out:") == 10
    assert "… and 3 more" in done.err
    assert len(read_rejected(tmp_path / "model")) == 13


def test_too_many_broken_files_end_it_with_a_list_and_without_a_model(fit, photos, tmp_path):
    for number in range(9):
        (photos / "sea" / f"{number:02}.jpg").write_text("broken")
    done = fit(photos)
    assert done.status == 1
    assert "9 of 33 photos cannot be used, more than 20%: 9 not an image" in done.error
    assert done.error.endswith(f"all are listed in {tmp_path / 'model' / 'rejected.csv'}")
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["rejected.csv"]
    assert len(read_rejected(tmp_path / "model")) == 9
    for path in (photos / "sea").glob("*.jpg"):
        path.unlink()
    assert fit(photos, "--no-compare").status == 0
    assert not (tmp_path / "model" / "rejected.csv").exists()


def test_a_class_whose_photos_are_all_broken_is_named(fit, photos, tmp_path):
    write_photos(photos, ["apple", "leaf"], count=12, first=8)
    for path in (photos / "sea").iterdir():
        path.write_bytes(b"")
    done = fit(photos, "--no-compare", "--max-rejected", "0.3")
    assert done.status == 0
    assert "note: no photo of sea could be read: not learnt" in done.err
    assert ManyEyesClassifier.load(tmp_path / "model").classes_.tolist() == ["apple", "leaf"]


# --- where the model goes, and what it is made of


def test_a_folder_with_other_files_is_refused_before_any_photo_is_read(fit, world, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.txt").write_text("years of work")
    done = fit(tmp_path / "no photos")
    assert "model holds other files than a manyeyes bundle" in done.error
    assert (tmp_path / "model" / "thesis.txt").read_text() == "years of work"


def test_a_model_is_replaced(fit, world, tmp_path):
    for expert in ("softmax", "kernel-ridge", "gated"):
        assert fit(world.photos, "--no-compare", "--expert", expert).status == 0
        assert ManyEyesClassifier.load(tmp_path / "model").expert == expert


def test_the_options_reach_the_model(fit, world, tmp_path):
    options = ["--gate", "cnn64", "--fusion", "stacking", "--expert", "kernel-ridge", "--precision", "bf16"]
    done = fit(world.photos, *options, "--balanced", "--seed", 5, "--max-rejected", 0.3, "--offline", "--no-compare")
    assert done.status == 0
    model = ManyEyesClassifier.load(tmp_path / "model")
    assert (model.gate, model.fusion, model.expert, model.precision) == ("cnn64", "stacking", "kernel-ridge", "bf16")
    assert (model.class_weight, model.random_state, model.max_rejected) == ("balanced", 5, 0.3)
    # Whether there is a network, and whose licence is accepted, is for each user to say.
    assert (model.offline, model.accept_undeclared_licence) == (False, False)


def test_the_same_command_makes_the_same_model(fit, world, tmp_path):
    assert fit(world.photos, "--no-compare").status == 0
    first = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    assert fit(world.photos, "--no-compare").status == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == first


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--zoo", "zoological"], "'zoological' is no zoo"),
        (["--gate", "garden"], "'garden' is not one of the gates: choose from"),
        (["--fusion", "cold"], "'cold' is not one of the fusions"),
        (["--expert", "oracle"], "'oracle' is not one of the experts"),
        (["--precision", "fp8"], "'fp8' is not one of the precisions: choose from auto, fp32, bf16"),
    ],
)
def test_unknown_choices_are_one_line(run, world, tmp_path, words, error):
    assert error in run("fit", world.photos, "-o", tmp_path / "model", *words).error


@pytest.mark.parametrize("words", [["--max-rejected", 20], ["--seed", -1], ["--seed", "x"]])
def test_values_out_of_range_are_told_as_wrong_usage(fit, world, words):
    done = fit(world.photos, *words)
    assert done.status == 2
    assert f"Invalid value for '{words[0]}'" in done.err


def test_weights_that_are_not_here_are_named(run, world, tmp_path, monkeypatch):
    monkeypatch.setenv("MANYEYES_HOME", str(tmp_path / "home"))
    done = run("fit", world.photos, "-o", tmp_path / "model", "--offline")
    assert "weights of efficientnet-lite0 are not on this machine and the network is off" in done.error
    assert "`manyeyes backbones pull efficientnet-lite0`" in done.error


def test_offline_no_photos_are_read_from_beyond_this_machine(run, tmp_path, online):
    done = run("fit", "s3://bucket/photos", "-o", tmp_path / "model", "--offline")
    assert "s3://bucket/photos lies beyond this machine, and the network is not allowed" in done.error
    assert not is_offline()  # any more


def test_an_undeclared_licence_is_not_taken_by_default(run, world, tmp_path):
    done = run("fit", world.photos, "-o", tmp_path / "model", "--zoo", "xception-keras")
    assert "--accept-undeclared-licence" in done.error


# --- odd names


def test_odd_names_of_classes_and_files(fit, run, tmp_path):
    names = ['it\'s [red] "x", <b>|&', "two\nlines [bold]", "\U0001f30a葉 caf\udce9"]
    write_photos(tmp_path / "-[bold]photos", names, count=3)
    (tmp_path / "-[bold]photos" / names[0] / "-v.png").touch()
    done = fit(tmp_path / "-[bold]photos", "--no-compare")
    assert done.status == 0, done.err
    assert '-[bold]photos/it\'s [red] "x", <b>|&/-v.png: empty' in done.err
    model = ManyEyesClassifier.load(tmp_path / "model")
    assert model.classes_.tolist() == sorted(names)
    json.loads((tmp_path / "model" / "config.json").read_text(encoding="utf-8"))
    judged = run("evaluate", tmp_path / "model", tmp_path / "-[bold]photos")
    assert judged.status == 0, judged.err
    assert "[red]" in judged.out
    assert r"two\nlines [bold]" in judged.out
    asked = run("predict", tmp_path / "model", tmp_path / "-[bold]photos", "--json")
    assert {record["label"] for record in json.loads(asked.out) if "label" in record} <= set(names)


# --- adapted backbones


@pytest.fixture
def fit_adapted(run, world, tmp_path, monkeypatch):
    """``fit(photos, …)`` with one net, adapted for an epoch at 32 pixels."""
    monkeypatch.setattr(zoo, "LEAST_STEPS", 1)
    tiny = world.zoo.rpartition(",")[2]

    def command(photos, *words):
        how = ["--adapt-size", 32, "--adapt-epochs", 1, "--engine", "torch", "--gate", "uniform"]
        return run("fit", photos, "-o", tmp_path / "model", "--zoo", tiny, *how, *words)

    return command


def test_backbones_are_adapted_to_half_of_the_photos(fit_adapted, photos, world, tmp_path):
    (photos / "sea" / "bad.png").write_text("no photo")
    done = fit_adapted(photos, "--adapt", "norms")
    assert done.status == 0, done.err
    assert "backbones adapted to 12 of the photos; the others judge\n" in done.err
    assert "24 photos seen by tiny-adapted" in done.err
    assert "2-fold cross-validation on 12 photos" in done.out
    assert list(read_rejected(tmp_path / "model")) == [str(photos / "sea" / "bad.png")]
    (card,) = ManyEyesClassifier.load(tmp_path / "model", engine="torch").cards_
    assert card.name == "tiny-adapted"


def test_all_is_trained_at_once_and_judged_by_the_other_splits(fit_adapted, world, tmp_path):
    write_photos(tmp_path / "split" / "train", ["apple", "leaf", "sea"], count=8)
    write_photos(tmp_path / "split" / "test", ["apple", "leaf", "sea"], count=3, first=6)
    done = fit_adapted(tmp_path / "split", "--adapt", "norms", "--joint")
    assert done.status == 0, done.err
    assert "of the 3 photos that the training was stopped by\n" in done.err
    # Six of the nine are copies of photos that were trained on.
    assert "Judged on 3 photos that were held out from training." in done.out
    assert "trained together" in done.out
    card = (tmp_path / "model" / "README.md").read_text()
    assert "to these photos, together with experts and gate." in card
    assert "of the 3 photos that its training was stopped by." in card
    assert "| trained together |" in card


def test_too_many_broken_photos_are_listed_before_anything_is_adapted(fit_adapted, photos, tmp_path):
    for number in range(8):
        (photos / "sea" / f"bad{number}.png").write_text("no photo")
    done = fit_adapted(photos, "--adapt", "norms")
    assert done.status == 1
    assert "8 of 32 photos cannot be used" in done.error
    assert len(read_rejected(tmp_path / "model")) == 8


@pytest.mark.parametrize("words", [["--joint"], ["--adapt-size", 64], ["--no-adapt-flip"], ["--adapt-epochs", 3]])
def test_choices_about_adapters_want_adapters(fit, photos, words):
    assert fit(photos, *words).error.endswith("say which, as in --adapt parallel --joint")


def test_joint_and_another_training_do_not_go_together(fit_adapted, photos):
    done = fit_adapted(photos, "--adapt", "norms", "--joint", "--training", "warm-joint")
    assert "--training warm-joint does not" in done.error


def test_joint_training_tells_of_classes_that_cannot_be_read(fit_adapted, photos):
    (photos / "cloud").mkdir()
    (photos / "cloud" / "00.png").write_text("no photo")
    done = fit_adapted(photos, "--adapt", "norms", "--joint")
    assert done.status == 0, done.err
    assert "note: no photo of cloud could be read: not learnt\n" in done.err
    assert "left out: " in done.err


def test_series_adapters_cannot_be_folded_and_so_not_be_fused(fit_adapted, photos):
    assert "series" in fit_adapted(photos, "--adapt", "series").error
