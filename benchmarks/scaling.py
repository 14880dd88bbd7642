"""Time and memory of an extraction against the number of photos and their size, and how soon the commands answer.

    python benchmarks/scaling.py PHOTOS -o docs/results/scaling.md

Every run has a process and a cache of its own; runs of different sizes take turns. Where PHOTOS holds too few, others
are made of them: cropped, and so of other content. Linear time and flat memory are wanted.

Photos of many megapixels are JPEGs with grain, of sides as cameras make them, which can be decoded smaller, and of odd
ones, which cannot; and PNGs.

Cold: a new process, the weights in the cache, the photo not. Warm: photos one by one in one process, by
ManyEyesClassifier.predict, the first left out; so many that what is kept of each has been gathered several times. The
full cache is that of the largest extraction.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from large import enlarged
from PIL import Image
from record import keep, peak_bytes, table

from manyeyes import ManyEyesClassifier
from manyeyes.backbones.backbone import Backbone
from manyeyes.backbones.nets import FINAL, SECOND_ORDER
from manyeyes.backbones.zoo import read_zoo
from manyeyes.features.extract import fill_store
from manyeyes.features.store import FeatureStore
from manyeyes.home import cache_home
from manyeyes.images import list_photos

PROGRAM = [sys.executable, "-m", "manyeyes.cli.main"]
MEGA = 1e6
# Photos that the model for `predict` is fitted on; and how many are predicted one by one in one process.
FITTED, WARM = 40, 150


def main() -> None:
    arguments = parse()
    if arguments.child:
        task = json.load(sys.stdin)
        print(json.dumps(CHILDREN[task.pop("what")](**task)))
        return
    with tempfile.TemporaryDirectory(prefix="manyeyes-scaling-") as scratch:
        record = run(arguments, Path(scratch))
    keep(arguments.output, "Time and memory against the number of photos", record, page(record))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, nargs="?", help="a folder of photos")
    parser.add_argument("--counts", type=int, nargs="+", default=[500, 2000, 8000])
    parser.add_argument("--large", type=int, default=20, help="how many photos of that many megapixels")
    parser.add_argument("--megapixels", type=float, default=50)
    parser.add_argument("--zoo", default="lite")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--repeats", type=int, default=3, help="of each extraction")
    parser.add_argument("--starts", type=int, default=7, help="of each command")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.photos is None and not arguments.child:
        parser.error("a folder of photos is wanted")
    arguments.counts.sort()
    return arguments


def run(arguments: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    own = list_photos([arguments.photos])
    random.Random(0).shuffle(own)
    needed = arguments.counts[-1] + 2 * arguments.starts + 2 * WARM + FITTED
    paths = own[:needed] + derive(own, max(needed - len(own), 0), scratch / "derived")
    extracted, others = paths[: arguments.counts[-1]], paths[arguments.counts[-1] :]
    whom = {"zoo": arguments.zoo, "precision": arguments.precision}
    # Weights are fetched, and what is learnt of them is learnt, before the first time is taken.
    spawn(scratch / "first", what="extraction", paths=others[:8], **whom)

    runs: dict[str, list[dict[str, float]]] = {str(count): [] for count in arguments.counts}
    for repeat in range(arguments.repeats):
        for count in arguments.counts:
            home = scratch / f"home-{count}"
            shutil.rmtree(home, ignore_errors=True)
            runs[str(count)].append(spawn(home, what="extraction", paths=extracted[:count], **whom))
            print(f"{count} photos, run {repeat + 1}: {runs[str(count)][-1]}", file=sys.stderr, flush=True)
    large = large_photos(own, arguments.large, arguments.megapixels, scratch)
    sizes: dict[str, list[dict[str, float]]] = {kind: [] for kind in large}
    for repeat in range(arguments.repeats):
        for kind, those in large.items():
            sizes[kind].append(spawn(scratch / f"home-{kind}-{repeat}", what="extraction", paths=those, **whom))
    return {
        **whom,
        "extractions": runs,
        "megapixels": {"megapixels": arguments.megapixels, "photos": arguments.large, "kinds": sizes},
        "starts": starts(arguments, scratch, others, whom),
    }


def starts(arguments: argparse.Namespace, scratch: Path, photos: list[str], whom: dict[str, str]) -> dict[str, Any]:
    """Seconds until the commands have answered, with a cache that holds little or that of the largest extraction."""
    homes = {"little": scratch / "home-little", "full": scratch / f"home-{arguments.counts[-1]}"}
    model = scratch / "model"
    for home in homes.values():
        spawn(home, what="fitting", paths=photos[:FITTED], model=str(model), **whom)
    rest = iter(photos[FITTED:])
    seconds: dict[str, list[float]] = {"--help": [], **{f"predict, cold, cache {name}": [] for name in homes}}
    for _ in range(arguments.starts):
        seconds["--help"].append(time_command(["--help"], homes["little"]))
        for name, home in homes.items():
            seconds[f"predict, cold, cache {name}"].append(time_command(["predict", str(model), next(rest)], home))
    for name, home in homes.items():
        told = spawn(home, what="predicting", paths=[next(rest) for _ in range(WARM)], model=str(model))
        seconds[f"predict, warm, cache {name}"] = told["seconds"][1:]
    return seconds


def time_command(words: list[str], home: Path) -> float:
    start = time.perf_counter()
    subprocess.run([*PROGRAM, *words], check=True, stdout=subprocess.DEVNULL, env=at_home(home))
    return time.perf_counter() - start


def spawn(home: Path, **task: Any) -> dict[str, Any]:
    """What the child answers who does this with a cache at ``home``."""
    command, given = [sys.executable, __file__, "--child"], json.dumps(task)
    done = subprocess.run(command, check=True, input=given, stdout=subprocess.PIPE, text=True, env=at_home(home))
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def at_home(home: Path) -> dict[str, str]:
    """An environment whose cache is at ``home``, with the user's weights."""
    weights = cache_home() / "weights"
    weights.mkdir(parents=True, exist_ok=True)
    home.mkdir(exist_ok=True)
    if not (home / "weights").exists():
        (home / "weights").symlink_to(weights)
    return {**os.environ, "MANYEYES_HOME": str(home)}


def extraction(paths: list[str], zoo: str, precision: str) -> dict[str, float]:
    taps = (FINAL, SECOND_ORDER)
    backbones = [Backbone.load(card, True, taps, precision, "auto") for card in read_zoo(zoo)]
    for backbone in backbones:
        backbone.expect(10_000)  # the same engines whatever the number of photos
        _ = backbone.encoder
    before = peak_bytes()
    start = time.perf_counter()
    filling = fill_store(paths, backbones, FeatureStore())
    seconds = time.perf_counter() - start
    if filling.computed != len(paths):
        raise SystemExit(f"{len(paths) - filling.computed} photos could not be read, or are there twice: no fair run")
    return {"seconds": seconds, "peak_mb": peak_bytes() / MEGA, "idle_mb": before / MEGA}


def fitting(paths: list[str], model: str, zoo: str, precision: str) -> dict[str, float]:
    start = time.perf_counter()
    classifier = ManyEyesClassifier(zoo=zoo, precision=precision, accept_undeclared_licence=True)
    classifier.fit(paths, [number % 2 for number in range(len(paths))]).save(model)
    return {"seconds": time.perf_counter() - start}


def predicting(paths: list[str], model: str) -> dict[str, list[float]]:
    """Seconds of each photo, one by one; the networks are built for the first."""
    classifier, seconds = ManyEyesClassifier.load(model, accept_undeclared_licence=True), []
    for path in paths:
        start = time.perf_counter()
        classifier.predict([path])
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds}


CHILDREN = {"extraction": extraction, "fitting": fitting, "predicting": predicting}


def derive(paths: list[str], count: int, folder: Path) -> list[str]:
    """That many other photos: each time round, the given ones lose a further row at the top and column at the left."""
    folder.mkdir()
    made = []
    for number in range(count):
        with Image.open(paths[number % len(paths)]) as photo:
            lost = 1 + number // len(paths)
            cropped = photo.convert("RGB").crop((lost, lost, *photo.size))
        made.append(str(folder / f"{number:06}.jpg"))
        cropped.save(made[-1], quality=92)
    return made


def large_photos(paths: list[str], count: int, megapixels: float, scratch: Path) -> dict[str, list[str]]:
    kinds: dict[str, list[str]] = {}
    for kind in ("JPEG", "JPEG of odd sides", "PNG"):
        folder = scratch / f"large {kind}"
        folder.mkdir()
        made = [enlarged(path, megapixels, folder, odd="odd" in kind) for path in paths[:count]]
        if kind == "PNG":
            made = [to_png(path) for path in made]
        kinds[kind] = [str(path) for path in made]
    return kinds


def to_png(path: Path) -> Path:
    with Image.open(path) as photo:
        photo.save(path.with_suffix(".png"), compress_level=1)
    path.unlink()
    return path.with_suffix(".png")


def page(record: dict[str, Any]) -> str:
    rows, before = [], None
    for count, runs in record["extractions"].items():
        seconds, peak = (median(run[what] for run in runs) for what in ("seconds", "peak_mb"))
        more = "" if before is None else f"{1000 * (seconds - before[1]) / (int(count) - before[0]):.1f}"
        before = int(count), seconds
        rows.append([f"{int(count):,}", f"{seconds:.1f}", f"{int(count) / seconds:.1f}", more, f"{peak:,.0f}"])
    large = record["megapixels"]
    sizes = [
        [
            kind,
            *(
                f"{median(run[what] for run in runs):{form}}"
                for what, form in (("seconds", ".1f"), ("peak_mb", ",.0f"))
            ),
        ]
        for kind, runs in large["kinds"].items()
    ]
    starts = [[what, *(f"{some(took):.2f}" for some in (median, min, max))] for what, took in record["starts"].items()]
    return "\n\n".join(
        [
            f"Zoo {record['zoo']}, precision {record['precision']}, all taps. Medians of runs that took turns.",
            table(["photos", "seconds", "photos/s", "ms for each photo more", "peak MB"], rows),
            table([f"{large['photos']} photos of {large['megapixels']:g} megapixels", "seconds", "peak MB"], sizes),
            table(["command", "median s", "fastest", "slowest"], starts),
        ]
    )


if __name__ == "__main__":
    main()
