"""Splits side by side, one process and one thread each: small problems gain nothing from more threads."""

import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy.typing as npt

from manyeyes.experts import ClassWeight, Groups
from manyeyes.features.table import FeatureTable
from manyeyes.study.compare import gather, run_trial
from manyeyes.study.methods import Method
from manyeyes.study.outcomes import Outcomes, Split, Trial
from manyeyes.threads import one_thread

LOOK_EVERY_SECONDS = 0.3


def compare_in_parallel(
    methods: Sequence[Method],
    table: FeatureTable,
    y: npt.NDArray[Any],
    splits: Sequence[Split],
    groups: Groups | None = None,
    class_weight: ClassWeight = None,
    jobs: int | None = None,
    advance: Callable[[int], None] = lambda count: None,
) -> Outcomes:
    """As :func:`manyeyes.study.compare.compare`, with the same outcome, on ``jobs`` processes (None: one a core).

    The table's arrays are mapped into every process, not copied. ``advance`` hears how many more methods have ended.
    """
    jobs = min(jobs or joblib.cpu_count(), len(splits))
    with tempfile.TemporaryDirectory(prefix="manyeyes-study-") as scratch:
        ended = Path(scratch) / "ended"
        ended.touch()
        calls = [joblib.delayed(_run_alone)(ended, methods, table, y, split, groups, class_weight) for split in splits]
        with _watched(ended, advance), joblib.parallel_config("loky", n_jobs=jobs, inner_max_num_threads=1):
            trials: list[Trial] = joblib.Parallel(temp_folder=scratch if jobs > 1 else None)(calls)
    return gather(methods, y, tuple(trials), groups)


def _run_alone(
    ended: Path,
    methods: Sequence[Method],
    table: FeatureTable,
    y: npt.NDArray[Any],
    split: Split,
    groups: Groups | None,
    class_weight: ClassWeight,
) -> Trial:
    """One split on one thread, in this process or in one of its own."""
    with one_thread(blas=True):
        return run_trial(methods, table, y, split, groups, class_weight, partial(_tell, ended))


def _tell(ended: Path, name: str) -> None:
    # One byte a method: what several processes append is never torn.
    with ended.open("ab") as file:
        file.write(b".")


@contextmanager
def _watched(ended: Path, advance: Callable[[int], None]) -> Iterator[None]:
    """Tell ``advance`` of what the processes have ended, while the block runs and once more after it."""
    stop = threading.Event()
    told = 0

    def tell() -> None:
        nonlocal told
        count = ended.stat().st_size
        advance(count - told)
        told = count

    def watch() -> None:
        while not stop.wait(LOOK_EVERY_SECONDS):
            tell()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()
        tell()
