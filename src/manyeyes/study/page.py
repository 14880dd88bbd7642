"""A study for people: ``table.md``, with every method, the paired tests, and the figures with what they show."""

import re
from collections.abc import Sequence
from typing import Any

from manyeyes.images.photo import readable
from manyeyes.study.figures.draw import Gallery
from manyeyes.study.folder import ANSWERS, FIGURES, RESULTS
from manyeyes.study.methods import AUTO, ORACLE, REFERENCES, UNIFORM, Kind
from manyeyes.study.outcomes import Outcomes, Result
from manyeyes.study.record import Facts, versions
from manyeyes.study.statistics import PairedTest

# Below this an adjusted p-value is marked.
SURE = 0.05

ABOUT_METHODS = " ".join(
    [
        "*Backbone+expert* is one backbone alone; *concat+…* one expert on all backbones' features side by side,",
        "*raw* as the nets give them, as the paper has it; *stacking* a second softmax regression on the experts'",
        "mean opinion (*-product*: on their product; *-in-sample*: trained, as the paper's text has it, on",
        "opinions of photos that the experts have learnt from); *mixture-…* the paper's mixture of experts, by",
        f"gate (*{UNIFORM}* is the plain mean), trained in stages unless it says *joint* or *warm-joint* (from",
        "where the stages end), with the paper's label space where it says *le*, whose vectors are drawn at",
        f"random or come from the named word vectors; *{AUTO}* is the default of `manyeyes fit`; *{ORACLE}* is",
        "right wherever any backbone alone is, a bound that no choice among them can pass. Seconds are for one",
        "split on one core; what a method shares with one above it is not counted again.",
    ]
)
ABOUT_TESTS = " ".join(
    [
        "Difference in accuracy, in points, to each of the methods that a fusion has to beat, with its 95%",
        "interval from a bootstrap over photos, and the p-value of an exact sign test on the photos that one gets",
        "right more often than the other (McNemar's test, with a photo that is judged under several seeds counted",
        "once). **Bold**: p below 0.05 after Holm's adjustment for all tests in the column. Folds share training",
        "photos, for which no simple test accounts: take a p-value just below 0.05 for a hint.",
    ]
)


def write_page(outcomes: Outcomes, tests: Sequence[PairedTest], gallery: Gallery, facts: Facts) -> str:
    """The whole of ``table.md``."""
    results = outcomes.results()
    parts = [
        f"# {cell(facts.name)}: {len(outcomes.labels):,} photos, {len(outcomes.classes)} classes, "
        f"zoo {cell(facts.zoo)}",
        _protocol(outcomes, facts),
        *(f"* {cell(note)}" for note in facts.notes),
        "## Every method",
        _methods_table([one for one in results if not one.failure]),
        ABOUT_METHODS,
    ]
    if failed := [one for one in results if one.failure]:
        rows = [f"* {cell(one.method.name)}: {cell(one.failure)}" for one in failed]
        parts += ["**These methods failed**, and are in no table or figure:", "\n".join(rows)]
    if tests:
        parts += ["## Is it better? Paired tests", _tests_table(tests), ABOUT_TESTS]
    parts.append("## Figures")
    for one in gallery.drawn:
        parts += [f"### {cell(one.heading)}", one.text, f"![{cell(one.heading)}]({FIGURES}/{one.name}.svg)"]
    if gallery.left_out:
        parts += ["Left out:", "\n".join(f"* {cell(reason)}" for reason in gallery.left_out)]
    parts += ["## How it was made", _made(facts)]
    return "\n\n".join(parts) + "\n"


def _protocol(outcomes: Outcomes, facts: Facts) -> str:
    parts = "half to train, half to judge" if facts.folds == 2 else f"one part in {facts.folds} to judge"
    text = (
        f"{facts.folds}-fold stratified cross-validation ({parts}, every photo judged once) under {facts.seeds} "
        f"seed{'s' if facts.seeds > 1 else ''}: means ± standard deviations over {len(outcomes.trials)} splits."
    )
    if facts.per_class:
        text += f" No more than {facts.per_class} photos of a class were trained on."
    if facts.rejected:
        text += f" {facts.rejected} photos could not be read and were left out."
    if unjudged := int((~outcomes.judged.any(axis=0)).sum()):
        text += f" {unjudged} photos were never judged, because no other photo of their class was there to learn from."
    return text


def _methods_table(results: Sequence[Result]) -> str:
    best = max((one.mean("accuracy") for one in results if one.method.kind is not Kind.BOUND), default=0.0)
    lines = [
        "| method | in the paper | accuracy % | macro F1 % | log loss | calibration error % | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    before = None
    for one in results:
        if one.method.kind is not before:
            lines.append(f"| *{one.method.kind}* | | | | | | |")
            before = one.method.kind
        accuracy = f"{100 * one.mean('accuracy'):.2f} ± {100 * one.spread('accuracy'):.2f}"
        if one.mean("accuracy") == best and one.method.kind is not Kind.BOUND:
            accuracy = f"**{accuracy}**"
        lines.append(
            f"| {cell(one.method.name)} | {cell(one.method.paper)} | {accuracy} | {100 * one.mean('macro_f1'):.2f} "
            f"| {one.mean('log_loss'):.3f} | {100 * one.mean('calibration_error'):.1f} | {one.seconds:.1f} |"
        )
    return "\n".join(lines)


def _tests_table(tests: Sequence[PairedTest]) -> str:
    references = [name for name in REFERENCES if any(test.reference == name for test in tests)]
    cells = {(test.method, test.reference): _test_cell(test) for test in tests}
    lines = [
        "| method | " + " | ".join(f"against {cell(name)}" for name in references) + " |",
        "|---" * (1 + len(references)) + "|",
    ]
    for name in dict.fromkeys(test.method for test in tests):
        row = " | ".join(cells.get((name, reference), "") for reference in references)
        lines.append(f"| {cell(name)} | {row} |")
    return "\n".join(lines)


def _test_cell(test: PairedTest) -> str:
    text = f"{100 * test.difference:+.2f} [{100 * test.low:+.2f}, {100 * test.high:+.2f}], p {_p(test.p_value)}"
    return f"**{text}**" if test.p_adjusted < SURE else text


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


def _made(facts: Facts) -> str:
    made = ", ".join(f"{name} {number}" for name, number in versions().items())
    return (
        f"`{facts.command}`\n\n{facts.seconds:,.0f} seconds for all methods on all splits, {facts.processes} side by "
        f"side, on features in {facts.precision}; {made}. Every split of every method is in [{RESULTS}]({RESULTS}), "
        f"what each said of each photo in [{ANSWERS}]({ANSWERS})."
    )


def cell(text: Any) -> str:
    """Text that stays in its table cell, whatever is in it: no line breaks, no Markdown, no HTML."""
    return re.sub(r"([\\`*_\[\]<>|&~])", r"\\\1", readable(" ".join(str(text).split())))
