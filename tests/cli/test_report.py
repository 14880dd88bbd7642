"""The report, as a real browser shows it."""

import json
import re
import shutil

import numpy as np
import pytest

from manyeyes import ManyEyesClassifier


@pytest.fixture
def photos(world, tmp_path):
    """Photos with one that is labelled wrong, a copy, and a file that is no photo."""
    folder = tmp_path / "some photos ß"
    shutil.copytree(world.photos, folder)
    first, second = sorted(path.name for path in folder.iterdir())[:2]
    one = sorted((folder / first).iterdir())[0]
    shutil.copy(one, folder / second / "<b>wrong.png")
    (folder / first / "broken.jpg").write_bytes(b"no photo")
    return folder


@pytest.fixture
def page(run, trained, photos, tmp_path, browser):
    """The report in a browser, and what went wrong there: errors, and requests for anything else."""
    output = tmp_path / "report.html"
    done = run("report", trained, photos, "-o", output)
    assert done.status == 0, done.err
    assert f"report written to {output}" in done.out
    shown = browser.new_page(viewport={"width": 390, "height": 844})
    wrong: list[str] = []
    shown.on("console", lambda message: wrong.append(message.text))
    shown.on("pageerror", lambda error: wrong.append(str(error)))
    shown.on("request", lambda request: wrong.append(request.url) if request.url.startswith("http") else None)
    shown.goto(output.as_uri())
    yield shown
    assert wrong == []
    shown.close()


def test_it_tells_how_good_the_model_is(page, trained, photos):
    text = page.inner_text("body")
    for words in ("How good it is on some photos ß", "What its probabilities mean", "Files that could not be read"):
        assert words in text
    assert "broken.jpg" in text
    assert "across two classes" in text  # the copy
    assert not re.search(str(photos.parent), page.content())  # where photos lie is nobody's business
    right = np.array(page.evaluate("data.photos.map(photo => photo.truth === photo.said)"))
    assert f"{100 * right.mean():.1f}%" in page.inner_text(".figures")


def test_it_fits_a_phone(page):
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_photos_are_filtered(page):
    every = page.evaluate("data.photos.length")
    assert page.locator("#gallery li").count() == every == 37
    for kind, js in (
        ("wrong", "photo.truth !== photo.said"),
        ("right", "photo.truth === photo.said"),
        ("disagreement", "photo.disagree"),
        ("doubted", "photo.doubted"),
    ):
        page.click(f"[data-kind={kind}]")
        assert page.locator("#gallery li").count() == page.evaluate(f"data.photos.filter(photo => {js}).length")
        assert page.locator("[aria-pressed=true]").count() == 1
    page.click("[data-kind=all]")
    page.select_option("#truth", "0")
    assert 0 < page.locator("#gallery li").count() < every
    page.select_option("#truth", "")
    page.fill("#text", "<B>WRONG")
    assert page.locator("#gallery li").count() == 1


def test_a_photo_tells_who_said_what_by_keyboard_alone(page):
    page.focus("#gallery button >> nth=0")
    page.keyboard.press("Enter")
    dialog = page.inner_text("dialog")
    assert "All together say" in dialog
    assert "weight" in dialog  # of the gate
    assert page.locator("dialog tbody tr").count() == 2
    assert page.evaluate("document.querySelector('dialog img').naturalWidth") > 0
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()


def test_fitting_ends_with_a_report_on_what_had_not_seen_the_photos(run, world, tmp_path):
    output = tmp_path / "own.html"
    fit = ("fit", world.photos, "--zoo", world.fast_zoo, "--no-compare", "-o", tmp_path / "model", "--report", output)
    done = run(*fit)
    assert done.status == 0, done.err
    data = json.loads(re.search(r'id="data">(.*?)</script>', output.read_text(), re.DOTALL)[1])
    assert len(data["photos"]) == 36
    assert "judged on 36 photos by what had not seen them" in output.read_text()
    model = ManyEyesClassifier(zoo=world.fast_zoo).fit(world.paths, world.labels)
    honest = np.exp(model.fusion_.out_of_fold_).max(axis=1)
    assert sorted(photo["probabilities"][0][1] for photo in data["photos"]) == pytest.approx(sorted(honest), abs=1e-4)


def test_a_report_in_the_models_own_folder_is_refused(run, trained, world, tmp_path):
    words = "lies in the model's own folder"
    assert words in run("report", trained, world.photos, "-o", trained / "report.html").error
    fit = ("fit", world.photos, "--zoo", world.fast_zoo, "--no-compare", "-o", tmp_path / "model")
    assert words in run(*fit, "--report", tmp_path / "model" / "report.html").error
    assert not (tmp_path / "model").exists()


def test_photos_that_backbones_were_adapted_to_do_not_judge(run, world, tmp_path):
    output = tmp_path / "own.html"
    fit = ("fit", world.photos, "--zoo", f"local:{world.folder / 'tiny'}", "--no-compare", "-o", tmp_path / "model")
    done = run(*fit, "--adapt", "norms", "--adapt-epochs", 1, "--report", output)
    assert done.status == 0, done.err
    adapted = int(re.search(r"adapted to (\d+) of the photos", done.err)[1])
    assert f"judged on {36 - adapted} photos" in output.read_text()
    assert str(world.folder) not in output.read_text()  # where its weights came from


def test_every_vote_has_a_name(run, world, tmp_path):
    ManyEyesClassifier(zoo=world.fast_zoo).fit(world.paths, world.labels).save(tmp_path / "model")
    output = tmp_path / "report.html"
    assert run("report", tmp_path / "model", world.held_out, "-o", output).status == 0
    data = json.loads(re.search(r'id="data">(.*?)</script>', output.read_text(), re.DOTALL)[1])
    assert data["experts"] == ["tint", "edges", "all blocks"]
    assert [vote[0] for vote in data["photos"][0]["votes"]] == [0, 1, 2]
    assert data["counted"] == "log-odds"


def test_a_cascade_tells_how_many_it_asked(run, world, tmp_path):
    model = ManyEyesClassifier(zoo=world.fast_zoo, budget=1e6, budget_unit="ms").fit(world.paths, world.labels)
    model.save(tmp_path / "model")
    output = tmp_path / "report.html"
    assert run("report", tmp_path / "model", world.held_out, "-o", output).status == 0
    assert "backbones asked for a photo" in output.read_text()


def test_where_no_report_can_be_written_nothing_is_looked_at(run, trained, world, tmp_path):
    (tmp_path / "file").write_text("")
    assert "no report can be written to" in run("report", trained, world.photos, "-o", tmp_path / "file" / "x").error


def test_pictures_fit_into_their_bytes(world):
    from manyeyes.report.pictures import pictures

    found = pictures(world.paths, 40_000)
    assert set(found) == set(world.paths)
    assert sum(map(len, found.values())) <= 40_000
    assert pictures([], 10) == {}
    assert pictures([*world.paths[:1], "gone.jpg"], 10_000).keys() == {world.paths[0]}
