"""``manyeyes decathlon``: a file of domains in, a table out."""

import pytest
from small_world import write_photos

from manyeyes.experts import softmax
from manyeyes.study.decathlon import run as running

WORDS = ["--epochs", 1, "--batch", 8]


@pytest.fixture
def decathlon(run, world, tmp_path, monkeypatch):
    """``decathlon(…)`` on two small domains with the small world's net, in this process alone."""
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    monkeypatch.setattr(running, "LEAST_STEPS", 2)
    monkeypatch.setattr(softmax, "STRENGTHS", (0.01, 1.0))
    monkeypatch.setenv("MANYEYES_HOME", str(tmp_path / "home"))
    write_photos(tmp_path / "fruit", ["apple", "leaf"], count=4)
    write_photos(tmp_path / "signs", ["stop", "go", "Straße"], count=4)
    (tmp_path / "domains.toml").write_text(
        'size = 32\n[fruit]\nphotos = "fruit"\n["signs, ü"]\nphotos = "signs"\nflip = false\n', encoding="utf-8"
    )

    def command(*words):
        tiny = world.zoo.rpartition(",")[2]
        return run("decathlon", tmp_path / "domains.toml", "--backbone", tiny, *WORDS, *words)

    return command


def test_a_table_with_a_column_for_each_method(decathlon, tmp_path):
    done = decathlon("--methods", "feature,full,parallel", "-o", tmp_path / "page.md")
    assert done.status == 0, done.err
    lines = {line[:10].strip(): line for line in done.out.splitlines()}
    assert {"fruit", "signs, ü", "mean", "parameters", "score", "seconds"} <= lines.keys()
    assert lines["score"].split()[2] == "500"
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "|  | frozen features | full fine-tuning | parallel adapters |\n| --- | ---: |" in text
    assert "Made by `manyeyes decathlon domains.toml " in text
    assert str(tmp_path) not in text
    again = decathlon("--methods", "feature,full,parallel")
    assert again.out == done.out


def test_tables_of_few_labels(decathlon, tmp_path):
    done = decathlon("--methods", "feature", "--per-class", "1,2", "--seeds", 2, "-o", tmp_path / "new" / "few.md")
    assert done.status == 0, done.err
    assert "](few.svg)" in (tmp_path / "new" / "few.md").read_text(encoding="utf-8")
    assert "frozen features" in (tmp_path / "new" / "few.svg").read_text(encoding="utf-8")
    assert "photos a class" in done.out
    assert done.out.count("mean") == 2
    assert "±" in done.out


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--methods", "magic"], "'magic' is no method: choose from scratch, feature, norms, full, series, parallel"),
        (
            ["--keep", -1, "--methods", "parallel-svd"],
            "compression keeps a share above 0 of the adapters' rank",
        ),
        (["--budget", "1.0001x", "--methods", "parallel"], "do not even do for rank 1"),
        (["--backbone", "lite"], "one backbone is wanted"),
        (["--rate", 0], "a rate above 0"),
    ],
)
def test_bad_choices_are_one_line(decathlon, words, error):
    done = decathlon(*words)
    assert done.status == 1
    assert error in done.error


@pytest.mark.parametrize("words", [["--seeds", 0], ["--epochs", 0], ["--budget", "1x"], ["--per-class", "0"]])
def test_values_out_of_range_are_told_as_wrong_usage(decathlon, words):
    assert decathlon(*words).status == 2


def test_a_page_that_cannot_be_written_is_told_before_anything_is_trained(decathlon, tmp_path):
    done = decathlon("-o", tmp_path / "domains.toml" / "page.md")
    assert done.status == 1
    assert "nothing can be written to" in done.error
    assert not (tmp_path / "home").exists()


def test_a_file_that_names_no_domains_is_one_line(run, tmp_path):
    (tmp_path / "domains.toml").write_text("size = 3")
    assert "names no domains" in run("decathlon", tmp_path / "domains.toml").error
    assert "cannot be read as TOML" in run("decathlon", tmp_path / "gone.toml").error
