"""What a search for smaller networks tells: the front, what paths keep, the words, the table and the figure."""

import dataclasses
import itertools
import re

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from manyeyes.study.figures.block_strip import BlockStrip
from manyeyes.study.figures.pareto import draw_front
from manyeyes.study.figures.style import VERMILION, house_style, save
from manyeyes.study.paths import Choice, JudgedPath, KeptBlock, Metric, PathSearch
from manyeyes.study.paths_text import front_table, front_text, left_out, say_macs

ACCURACY = Metric("accuracy", "%", decimals=1)
YEARS = Metric("mean absolute error", "years", more_is_better=False)


def path(macs, loss, metric, keep=1.0, width=1.0, kernel=5.0, leave=0.0, size=64.0, rank=8.0):
    """Of a network with three blocks: the first can be narrower, the second left out, the third has filters."""
    choices = [
        Choice("stages.0.0", "width", width),
        Choice("stages.0.1", "keep", keep),
        Choice("stages.1.0", "keep", 1.0),
        Choice("stages.1.0", "kernel", kernel),
        Choice("late", "rank", rank),
        Choice("", "exit", leave),
        Choice("", "size", size),
    ]
    return JudgedPath(macs, loss, metric, tuple(choices))


FULL = path(400_000_000, 0.3, 0.936)
CHOSEN = path(196_000_000, 0.35, 0.931, keep=0.0, width=0.5, kernel=3.0)
SMALL = path(90_000_000, 0.9, 0.7, leave=1.0, size=48.0, rank=0.0)
WORSE = path(300_000_000, 0.4, 0.92)
SEARCH = PathSearch(
    (WORSE, FULL, CHOSEN, SMALL), FULL, CHOSEN, 200e6, ACCURACY, behind={1.0: frozenset({"stages.1.0"})}
)


def many(count=60, blocks=16, metric=ACCURACY, budget=0.6, seed=0):
    """A search over blocks that matter more or less."""
    random = np.random.default_rng(seed)
    matters = random.lognormal(0, 1.4, blocks)
    paths = []
    for number in range(count):
        widths = random.choice([1, 0.75, 0.5, 0], blocks) if number else np.ones(blocks)
        lost = float(((1 - widths) * matters).sum() / matters.sum())
        choices = [
            choice
            for block, width in enumerate(widths)
            for choice in (
                Choice(f"stages.{block // 10}.blocks.{block % 10}", "keep", float(width > 0)),
                Choice(f"stages.{block // 10}.blocks.{block % 10}", "width", float(width or 1)),
                Choice(f"stages.{block // 10}.blocks.{block % 10}", "kernel", 7.0 if width == 1 else 5.0),
            )
        ]
        read = 0.936 - lost**2 if metric.more_is_better else 4 + 9 * lost**2
        paths.append(JudgedPath(int(4e9 * (0.1 + 0.9 * widths.mean())), 0.3 + lost, read, tuple(choices)))
    cheap = [one for one in paths if one.macs <= budget * paths[0].macs]
    chosen = min(cheap, key=lambda one: one.loss)
    return PathSearch(tuple(paths), paths[0], chosen, budget * paths[0].macs, metric)


def test_the_front_is_by_loss_and_macs():
    assert SEARCH.front == (SMALL, CHOSEN, FULL)
    assert SEARCH.share(CHOSEN) == 0.49


def test_what_a_path_keeps_of_each_block():
    assert SEARCH.kept(CHOSEN) == (
        KeptBlock("stages.0.0", 0.5, 0, 0),
        KeptBlock("stages.0.1", 0.0, 0, 0),
        KeptBlock("stages.1.0", 1.0, 3, 5),
    )
    assert [block.is_kept for block in SEARCH.kept(SMALL)] == [True, True, False]
    assert SEARCH.how_often_kept() == [1.0, 2 / 3, 2 / 3]


def test_numbers_are_told_with_their_units():
    told = [say_macs(macs) for macs in (7, 1_500, 999_400, 999_600, 204_060_000, 4_123_000_000, 2e12)]
    assert told == ["7", "1.5 thousand", "999 thousand", "1 million", "204 million", "4.12 billion", "2,000 billion"]
    assert (ACCURACY.say(0.9314), YEARS.say(4.216), Metric("mAP").say(0.4567)) == ("93.1%", "4.22 years", "0.46")


def test_words_tell_what_a_path_costs_and_lacks():
    assert front_text(SEARCH) == (
        "The chosen path takes 0.49 of the full network's MACs, 196 million of 400 million for one photo, with a "
        "budget of 200 million; its accuracy on the held-out photos is 93.1%, the full network's 93.6%. 3 of 4 paths "
        "are on the front: no other is as good by the loss and as cheap. The chosen one leaves out 1 of 3 blocks, 25% "
        "of the hidden channels, the rim of the filters in 1 block."
    )
    assert left_out(SEARCH, SMALL) == (
        "1 of 3 blocks; ends after stages.0.1; sees photos of 48 pixels, not 64; has adapters of rank 0 of 8 (late)"
    )
    assert left_out(SEARCH, FULL) == "nothing"
    alone = PathSearch((FULL,), FULL, FULL, 500e6, ACCURACY)
    assert front_text(alone) == (
        "The full network is chosen: 400 million MACs for one photo, with a budget of 500 million; its accuracy on the "
        "held-out photos is 93.6%. 1 of 1 path is on the front: no other is as good by the loss and as cheap."
    )


def test_a_table_holds_the_front_and_the_full_network():
    better = dataclasses.replace(CHOSEN, loss=0.2)
    search = dataclasses.replace(SEARCH, paths=(WORSE, FULL, better, SMALL), chosen=better)
    assert front_table(search).splitlines() == [
        "| MACs | of the full | loss | accuracy % | leaves out |",
        "|---:|---:|---:|---:|---|",
        f"| 90 million | 0.23 | 0.900 | 70.0 | {left_out(SEARCH, SMALL)} |",
        "| **196 million** | **0.49** | **0.200** | **93.1** | **1 of 3 blocks, 25% of the hidden channels, the rim of "
        "the filters in 1 block** |",
        "| 400 million | 1.00 | 0.300 | 93.6 | nothing |",
    ]
    assert front_table(SEARCH).count("400 million") == 1


def texts(figure):
    """All that is written in a figure, by where: the panel of paths, the strip."""
    above, below = figure.subfigs
    panel = [one.get_text() for one in above.axes[0].texts]
    strip = [one.get_text() for axes in below.axes for one in axes.texts]
    return panel, strip


def overlapping(figure):
    """Pairs of labels in the panel of paths of which one hides a part of the other, and labels that are cut off."""
    figure.draw_without_rendering()
    boxes = {one.get_text(): one.get_window_extent() for one in figure.subfigs[0].axes[0].texts}
    pairs = [(a, b) for a, b in itertools.combinations(boxes, 2) if boxes[a].overlaps(boxes[b])]
    return pairs + [text for text, box in boxes.items() if not figure.bbox.contains(*box.min + 1)]


def drawn(search):
    with house_style():
        return draw_front(search, "a title")


def test_the_figure_names_what_it_shows():
    panel, strip = texts(drawn(SEARCH))
    assert panel == [
        "budget: 200 million",
        "chosen: 0.49× the MACs\n93.1%",
        "the full network\n93.6%",
        "the front: no other path is\nas good by the loss and as cheap",
        "a dot: one of the 4 paths judged",
        "1 path worse than the axis shows",
    ]
    assert strip == ["", "", "3", "", "", "5", "0", "1", "0", "stages.0", "stages.1"]


def test_bars_are_as_high_as_what_is_kept():
    bars, often, _ = drawn(SEARCH).subfigs[1].axes
    kept = [bar.get_height() for bar in bars.patches if to_hex(bar.get_facecolor()) == VERMILION]
    assert kept == [0.5, 0.0, 1.0]
    dashed = [bar.get_x() + bar.get_width() / 2 for bar in bars.patches if bar.get_linestyle() not in ("-", "solid")]
    assert dashed == [1.0]
    np.testing.assert_allclose([bar.get_height() for bar in often.patches[3:]], [1, 2 / 3, 2 / 3])


def test_a_strip_says_what_is_chosen_for_the_whole_network():
    heading = drawn(dataclasses.replace(SEARCH, chosen=SMALL)).subfigs[1].get_suptitle()
    assert heading.endswith(
        "(dashed: left out)\nIt ends after stages.0.1; sees photos of 48 pixels, not 64; has adapters of rank 0 "
        "of 8 (late)"
    )


@pytest.mark.parametrize(
    "search",
    [
        many(),
        many(metric=YEARS, seed=1),
        many(blocks=60, seed=2),
        many(blocks=110, count=20, budget=0.7, seed=3),
        PathSearch((FULL,), FULL, FULL, 1e12, ACCURACY),
        PathSearch((FULL, CHOSEN), FULL, FULL, 410e6, ACCURACY),
        PathSearch((WORSE, dataclasses.replace(CHOSEN, loss=0.1)), FULL, CHOSEN, 200e6, ACCURACY),
        PathSearch(tuple(dataclasses.replace(one, metric=0.9) for one in SEARCH.paths), FULL, CHOSEN, 2e8, ACCURACY),
    ],
    ids=["16", "years", "60", "110", "only the full", "full chosen", "one on the front", "all equal"],
)
def test_no_label_hides_another(search):
    assert overlapping(drawn(search)) == []


def test_the_same_search_draws_the_same_bytes(tmp_path):
    for name in ("one", "other"):
        with house_style():
            save(draw_front(many(), "a title"), tmp_path, name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "other.svg").read_bytes()
    with Image.open(tmp_path / "one.png") as image:
        assert len(set(image.convert("L").resize((64, 64)).tobytes())) > 50


def test_a_full_network_that_is_chosen_is_named_once():
    figure = drawn(PathSearch((FULL, CHOSEN), FULL, FULL, 1e12, ACCURACY))
    panel, _ = texts(figure)
    assert panel == [
        "the full network is chosen\n93.6%",
        "the front: no other path is\nas good by the loss and as cheap",
    ]
    assert "dashed" not in figure.subfigs[1].get_suptitle()


def test_paths_that_fail_are_marked_at_the_edge_of_the_axis():
    good = [path(200_000_000 + step, 0.4 + step / 100, 0.9 + step / 1000) for step in range(8)]
    failed = [path(100_000_000 + step, 2.0, 0.01) for step in range(3)]
    figure = drawn(dataclasses.replace(SEARCH, paths=(*good, *failed, FULL, CHOSEN)))
    panel, _ = texts(figure)
    assert "3 paths worse than the axis shows" in panel
    assert figure.subfigs[0].axes[0].get_ylim()[0] > 80


def test_less_is_better_is_said():
    axes = drawn(many(metric=YEARS)).subfigs[0].axes[0]
    assert axes.get_ylabel() == "mean absolute error, years: less is better"
    assert axes.get_xlabel() == "multiply-accumulates for one photo, billions"
    assert any(
        re.fullmatch(r"chosen: 0\.\d\d× the MACs\n\d\.\d\d years", text) for text in texts(axes.figure.figure)[0]
    )


def test_many_blocks_make_a_wider_figure_and_stages_lose_what_all_share():
    strip = BlockStrip(many(blocks=110, count=20, budget=0.7))
    assert strip.width > 15
    assert [stage for stage, _ in strip.stages][:2] == ["stages.0", "stages.1"]
