"""Photos a second from files to stored features, against the loop that people write.

    python benchmarks/extraction.py PHOTOS [--zoo lite mirror] -o docs/results/extraction.md

The loop: one backbone after another, eagerly and in float32, fed by timm's transform and a DataLoader; it runs the same
networks with the same weights, on the GPU where there is one, and keeps the final features alone. It is run with no
workers and with one for each core, with batches as people take them and with small ones, which suit the caches of a
processor better; the fastest of these is the rival. Ours is `manyeyes extract` of final features alone, as the loop,
and of all taps: in float32 and, where the machine multiplies in bfloat16, in that and as it comes, which chooses the
precision of each backbone.

Every run is a process of its own. The ways take turns, in another order each round, and medians over the rounds are
compared. What networks take to get ready, and a first pass, are timed apart: they do not grow with the photos.
"""

import argparse
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import keep, peak_bytes, table
from torch.utils.data import DataLoader, Dataset

from manyeyes.backbones.backbone import Backbone
from manyeyes.backbones.card import Card
from manyeyes.backbones.engines.precision import has_bf16
from manyeyes.backbones.nets import FINAL, NETS, SECOND_ORDER
from manyeyes.backbones.timm_import import timm
from manyeyes.backbones.weights import ensure_weights
from manyeyes.backbones.zoo import read_zoo
from manyeyes.features.extract import fill_store
from manyeyes.features.store import FeatureStore
from manyeyes.images import list_photos

Run = dict[str, Any]
Way = Callable[[tuple[Card, ...], list[str]], Run]

CORES = os.cpu_count() or 1
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BATCHES = (64, 256) if DEVICE == "cuda" else (64, 8)
# Photos that are looked at before the clock starts.
WARMING = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--zoo", nargs="+", default=["lite", "mirror"])
    parser.add_argument("--count", type=int, nargs="+", default=[512, 128], help="Photos, for each zoo.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--accept-undeclared-licence", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    listed = list_photos([arguments.photos])
    zoos = {}
    for zoo, count in zip(arguments.zoo, arguments.count, strict=True):
        cards = read_zoo(zoo)
        for card in cards:
            ensure_weights(card, arguments.accept_undeclared_licence)
        paths = listed[:: max((len(listed) - WARMING) // count, 1)][: count + WARMING]
        zoos[zoo] = measure(cards, paths, ways(arguments.engine), arguments.rounds)
    text = "\n\n".join(page(zoo, result, arguments.rounds) for zoo, result in zoos.items())
    keep(arguments.output, "Extraction beside the loop that people write", {"zoos": zoos}, text)


def ways(engine: str) -> dict[str, Way]:
    loops = {
        f"the loop, batches of {batch}, {workers or 'no'} workers": partial(loop, batch=batch, workers=workers)
        for batch in BATCHES
        for workers in (0, CORES)
    }
    taps = {"": (FINAL,), ", all taps": (FINAL, SECOND_ORDER)}
    precisions = {"float32": "fp32"}
    if has_bf16(engine):
        precisions |= {"as it comes": "auto", "bfloat16": "bf16"}
    return loops | {
        f"manyeyes, {name}{words}": partial(look, taps=wanted, precision=precision, engine=engine)
        for words, wanted in taps.items()
        for name, precision in precisions.items()
    }


def measure(cards: tuple[Card, ...], paths: list[str], ways: dict[str, Way], rounds: int) -> dict[str, Any]:
    """Medians of each way, and how many times as fast ours are as the fastest loop of the same round."""
    names = list(ways)
    loops = [name for name in names if name.startswith("the loop")]
    for name in set(names) - set(loops):  # converts and races, once in a machine's life
        in_own_process(ways[name], cards, paths[: WARMING + 2], name)
    runs: dict[str, list[Run]] = {name: [] for name in names}
    for turn in range(rounds):
        start = turn * len(names) // rounds
        for name in names[start:] + names[:start]:
            runs[name].append(in_own_process(ways[name], cards, paths, name))
    result = {"photos": len(paths) - WARMING, "ways": {name: medians(some) for name, some in runs.items()}}
    rival = max(loops, key=lambda name: result["ways"][name]["photos_per_second"])
    for name, way in result["ways"].items():
        pairs = zip(runs[name], runs[rival], strict=True)
        way["times_rival"] = statistics.median(
            mine["photos_per_second"] / its["photos_per_second"] for mine, its in pairs
        )
    return result | {"rival": rival, "runs": runs}


def medians(runs: list[Run]) -> Run:
    numbers = [name for name, value in runs[0].items() if isinstance(value, float)]
    return runs[0] | {name: statistics.median(run[name] for run in runs) for name in numbers}


def page(zoo: str, result: dict[str, Any], rounds: int) -> str:
    head = ["way", "precision", "photos/s", "core-ms a photo", "ready, s", "peak GB", "times the rival"]
    rows = [
        [
            f"**{name}**" if name == result["rival"] else name,
            way["precisions"],
            f"{way['photos_per_second']:.2f}",
            f"{1000 * CORES / way['photos_per_second']:.1f}",
            f"{way['ready']:.1f}",
            f"{way['peak_gb']:.2f}",
            f"{way['times_rival']:.2f}",
        ]
        for name, way in result["ways"].items()
    ]
    return f"## {zoo}\n\n{result['photos']} photos, medians of {rounds} rounds.\n\n{table(head, rows, left=2)}"


def in_own_process(way: Way, cards: tuple[Card, ...], paths: list[str], name: str) -> Run:
    context = multiprocessing.get_context("spawn")
    near, far = context.Pipe(duplex=False)
    process = context.Process(target=answer, args=(far, way, cards, paths))
    process.start()
    far.close()
    result: Run = near.recv()
    process.join()
    print(name, result, file=sys.stderr, flush=True)
    return result


def answer(pipe: Any, way: Way, cards: tuple[Card, ...], paths: list[str]) -> None:
    pipe.send(way(cards, paths))


def look(cards: tuple[Card, ...], paths: list[str], taps: tuple[str, ...], precision: Any, engine: str) -> Run:
    """Our way: the whole of `manyeyes extract` but for listing the photos."""
    start = time.perf_counter()
    backbones = [Backbone.load(card, True, taps, precision, engine) for card in cards]
    for backbone in backbones:
        backbone.expect(10_000)
        _ = backbone.encoder
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore(folder)
        fill_store(paths[:WARMING], backbones, store)
        clock = Clock(start)
        with clock:
            fill_store(paths[WARMING:], backbones, store)
    count = sum(backbone.precision == "bf16" for backbone in backbones)
    words = {0: "fp32", len(backbones): "bf16"}.get(count, f"bf16 for {count} of {len(backbones)}")
    return clock.figures(len(paths) - WARMING) | {"precisions": words}


def loop(cards: tuple[Card, ...], paths: list[str], batch: int, workers: int) -> Run:
    """What people write."""
    clock = Clock(time.perf_counter())
    with tempfile.TemporaryDirectory() as folder:
        for card in cards:
            network = NETS[card.net]().assemble(card, ensure_weights(card, True)).network.to(DEVICE)
            transform = timm.data.create_transform(**as_timm_says(card), is_training=False)
            # Workers are forked, as they are unless one says otherwise; not started anew, as in this child of ours.
            how = {"num_workers": workers, "multiprocessing_context": "fork"} if workers else {}
            loader = DataLoader(Photos(paths[WARMING:], transform), batch, pin_memory=DEVICE == "cuda", **how)
            with torch.inference_mode():
                for warming in DataLoader(Photos(paths[:WARMING], transform), batch):
                    network(warming.to(DEVICE))
                with clock:
                    features = [network(photos.to(DEVICE, non_blocking=True))[0].cpu().numpy() for photos in loader]
                    np.save(Path(folder) / f"{card.name}.npy", np.concatenate(features))
            del network
    return clock.figures(len(paths) - WARMING) | {"precisions": "fp32"}


def as_timm_says(card: Card) -> dict[str, Any]:
    own = card.preprocessing
    return {
        "input_size": (3, own.size, own.size),
        "crop_pct": own.crop,
        "interpolation": own.interpolation,
        "mean": own.mean,
        "std": own.std,
    }


class Photos(Dataset):
    def __init__(self, paths: list[str], transform: Any) -> None:
        self._paths = paths
        self._transform = transform

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, row: int) -> torch.Tensor:
        from PIL import Image

        tensor: torch.Tensor = self._transform(Image.open(self._paths[row]).convert("RGB"))
        return tensor


class Clock:
    """Adds up the time and the processor's time of the blocks it is used for; all other time was for getting ready."""

    def __init__(self, began: float) -> None:
        self._began, self._seconds, self._cpu = began, 0.0, 0.0

    def __enter__(self) -> None:
        self._seconds -= time.perf_counter()
        self._cpu -= cpu_seconds()

    def __exit__(self, *_: object) -> None:
        self._seconds += time.perf_counter()
        self._cpu += cpu_seconds()

    def figures(self, photos: int) -> Run:
        return {
            "photos_per_second": photos / self._seconds,
            "cpu_ms": 1000 * self._cpu / photos,
            "ready": time.perf_counter() - self._began - self._seconds,
            "peak_gb": peak_bytes() / 1e9,
        }


def cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    main()
