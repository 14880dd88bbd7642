"""From outcomes to a study's folder: the page, the data, the figures."""

import json
from collections.abc import Sequence
from pathlib import Path

from manyeyes.features.table import FeatureTable
from manyeyes.images.photo import readable
from manyeyes.study.figures.draw import compared_backbones, draw_all
from manyeyes.study.folder import ANSWERS, FIGURES, PAGE, RESULTS, write_whole
from manyeyes.study.outcomes import Outcomes
from manyeyes.study.page import write_page
from manyeyes.study.record import Facts, results_record, save_answers
from manyeyes.study.statistics import paired_tests


def write_study(folder: Path, outcomes: Outcomes, table: FeatureTable, paths: Sequence[str], facts: Facts) -> None:
    """Write the study, whole or not at all; ``table`` and ``paths`` are row for row what the outcomes are about.

    Raises StudyError when the folder holds anything but an older study, or cannot be written.
    """
    tests = paired_tests(outcomes)
    title = f"{readable(facts.name)}, {len(outcomes.labels):,} photos, {len(outcomes.classes)} classes"

    def fill(made: Path) -> None:
        (made / FIGURES).mkdir()
        gallery = draw_all(outcomes, table, paths, title, made / FIGURES)
        # A name of the user's may hold bytes that are not UTF-8: escaped in the page, and in JSON as it is written.
        page = write_page(outcomes, tests, gallery, facts)
        (made / PAGE).write_text(page, encoding="utf-8", errors="backslashreplace")
        record = results_record(outcomes, tests, compared_backbones(outcomes), facts)
        text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
        (made / RESULTS).write_text(text, encoding="utf-8", errors="backslashreplace")
        save_answers(outcomes, made / ANSWERS)

    write_whole(folder, fill)
