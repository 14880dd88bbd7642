"""The fastest engine of this machine, by a short race whose result is written down."""

import json
import logging
import platform
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from manyeyes.backbones.engines import ENGINES, Job
from manyeyes.backbones.engines.cuda_engine import CudaEngine
from manyeyes.backbones.engines.precision import processor
from manyeyes.backbones.nets import Encoder
from manyeyes.errors import EngineError
from manyeyes.threads import cores, one_thread

log = logging.getLogger(__name__)

# For fewer photos an engine that is not ready is not got ready: that takes seconds.
WORTH_A_RACE = 50
ROUNDS, PHOTOS = 5, 4
RACERS = ("torch", "openvino")


class AutoEngine:
    """CUDA where there is a GPU. Else OpenVINO or torch, whichever is faster for this backbone on this processor.

    The race is run once for each backbone, precision and version of the engines, as soon as there are photos enough;
    its times lie beside the weights, and ``-v`` tells them. Where OpenVINO cannot be had there is no race.
    """

    def why_not(self) -> str:
        return ""

    def start(self, job: Job) -> Encoder:
        if not CudaEngine().why_not():
            log.info("%s: cuda, for there is a GPU", job.name)
            return CudaEngine().start(job)
        if why_not := ENGINES["openvino"]().why_not():
            log.info("%s: torch, because of OpenVINO: %s", job.name, why_not)
            return _start("torch", job)
        times = _written_down(job)
        if times is None and job.run.photos < WORTH_A_RACE:
            log.info("%s: torch, for there are too few photos to find out what is faster", job.name)
            encoder = _start("torch", job)
            encoder.enough = WORTH_A_RACE - 1
            return encoder
        if times is None:
            return _race(job)
        fastest = _fastest(times)
        log.info("%s: %s, the fastest on this processor (%s)", job.name, fastest, _in_words(times))
        return _start(fastest, job)


def _race(job: Job) -> Encoder:
    """Time a few photos by each engine in turn, write the times down, and give the fastest one's encoder."""
    racers: dict[str, Encoder] = {}
    as_it_is = replace(job, run=replace(job.run, photos=0))  # torch compiles for a minute, and only when it has won
    for name in RACERS:
        try:
            racers[name] = _start(name, as_it_is)
        except EngineError as error:
            log.info("%s: %s", job.name, error)
    photos = np.random.default_rng(0).integers(0, 256, (PHOTOS, job.size, job.size, 3), dtype=np.uint8)
    times = dict.fromkeys(racers, float("inf"))
    with one_thread():  # as every pass runs
        for _ in range(1 + ROUNDS):  # the first round warms up; the least time counts, so it does no harm
            for name, encoder in racers.items():
                start = time.perf_counter()
                encoder(photos)
                times[name] = min(times[name], time.perf_counter() - start)
    times = {name: round(1000 * seconds / PHOTOS, 2) for name, seconds in times.items()}
    log.info("%s: %s wins (%s)", job.name, _fastest(times), _in_words(times))
    _write_down(job, times)
    winner = racers[_fastest(times)]
    if job.run.photos <= winner.enough:
        return winner
    racers.clear()  # their memory, before it is got ready for many photos
    return _start(_fastest(times), job)


def _start(name: str, job: Job) -> Encoder:
    encoder: Encoder = ENGINES[name]().start(job)
    return encoder


def _fastest(times: Mapping[str, float]) -> str:
    return min(times, key=lambda name: times[name])


def _in_words(times: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {milliseconds:g} ms a photo" for name, milliseconds in times.items())


def _conditions() -> dict[str, Any]:
    """What a race's outcome depends on, beside the job."""
    return {"processor": _processor(), **{name: _version(name) for name in RACERS}}


def _written_down(job: Job) -> dict[str, float] | None:
    """The times of a race under the present conditions, in milliseconds a photo."""
    try:
        record = json.loads(_record(job).read_text(encoding="utf-8"))
        if record["conditions"] == _conditions():
            return {name: float(record["milliseconds"][name]) for name in RACERS if name in record["milliseconds"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # none, or none that can be read: there will be another
    return None


def _write_down(job: Job, times: Mapping[str, float]) -> None:
    text = json.dumps({"conditions": _conditions(), "milliseconds": times}, indent=1)
    hidden = job.folder / f".{uuid.uuid4().hex}"
    try:
        hidden.write_text(text, encoding="utf-8")
        hidden.replace(_record(job))
    except OSError as error:
        log.info("the race of %s is not written down: %s", job.name, error)
        hidden.unlink(missing_ok=True)


def _record(job: Job) -> Path:
    return job.folder / f"engines-{job.key}-{job.run.precision}.json"


def _processor() -> str:
    # A hypervisor may leave of the name but the maker's: what the processor can do tells its kind.
    skills = sorted(name for name, has in processor().items() if has is True)
    return f"{processor().get('cpu_name') or platform.processor()}, {cores()} cores, {' '.join(skills)}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
