"""Photos a second from files to stored features, against the loop that people write.

    python benchmarks/extraction.py PHOTOS [--zoo lite mirror] -o docs/results/extraction.json

The loop: one backbone after another, eagerly and in float32, fed by timm's transform and a DataLoader of 64 photos a
batch, with no workers and with one for each core; the faster of the two is the rival. It runs the same networks with
the same weights and keeps the final features alone. Ours: `manyeyes extract` of the same taps, and of all taps. Every
run is a process of its own; ways take turns, and medians over the rounds are compared. What a network takes to get
ready is timed apart: it does not grow with the photos.
"""

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from command import command
from torch.utils.data import DataLoader, Dataset

from manyeyes.backbones.backbone import Backbone
from manyeyes.backbones.card import Card
from manyeyes.backbones.nets import FINAL, NETS, SECOND_ORDER
from manyeyes.backbones.timm_import import timm
from manyeyes.backbones.weights import ensure_weights
from manyeyes.backbones.zoo import read_zoo
from manyeyes.features.extract import fill_store
from manyeyes.features.store import FeatureStore
from manyeyes.images import list_photos

CORES = os.cpu_count() or 1
# How people load photos: in the process itself, or by a worker a core.
WORKERS = {"loop": 0, f"loop, {CORES} workers": CORES}
OURS = {"manyeyes": (FINAL,), "manyeyes, all taps": (FINAL, SECOND_ORDER)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--zoo", nargs="+", default=["lite", "mirror"])
    parser.add_argument("--count", type=int, default=128, help="Photos that all ways look at.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--accept-undeclared-licence", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    listed = list_photos([arguments.photos])
    paths = listed[:: max(len(listed) // arguments.count, 1)][: arguments.count]
    zoos = {zoo: measure(zoo, paths, arguments) for zoo in arguments.zoo}
    processor = torch.cpu.get_capabilities().get("cpu_name", "unknown")
    print(f"{len(paths)} photos, {arguments.rounds} rounds, {CORES} cores of {processor}")
    for zoo, result in zoos.items():
        print(table(zoo, result))
    if arguments.output:
        record = {"command": command(), "cores": CORES}
        record |= {"processor": processor, "photos": len(paths), "rounds": arguments.rounds, "zoos": zoos}
        arguments.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def measure(zoo: str, paths: list[str], arguments: argparse.Namespace) -> dict[str, Any]:
    """Medians of each way, and how many times as fast ours are as the faster loop."""
    cards = read_zoo(zoo)
    for card in cards:
        ensure_weights(card, arguments.accept_undeclared_licence)
    how = arguments.precision, arguments.engine
    for taps in OURS.values():  # converts and races, once in a machine's life
        in_own_process(look, cards, paths[:2], taps, *how)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in (*WORKERS, *OURS)}
    for _ in range(arguments.rounds):
        for name, workers in WORKERS.items():
            runs[name].append(in_own_process(loop, cards, paths, workers))
        for name, taps in OURS.items():
            runs[name].append(in_own_process(look, cards, paths, taps, *how))
    ways = {name: medians(some) for name, some in runs.items()}
    rival = max(WORKERS, key=lambda name: ways[name]["photos_per_second"])
    ratios = {
        name: statistics.median(
            mine["photos_per_second"] / its["photos_per_second"]
            for mine, its in zip(runs[name], runs[rival], strict=True)
        )
        for name in OURS
    }
    return {"ways": ways, "rival": rival, "times_as_fast": ratios, "precisions": runs["manyeyes"][0]["precisions"]}


def medians(runs: list[dict[str, Any]]) -> dict[str, float]:
    names = [name for name, value in runs[0].items() if isinstance(value, float)]
    return {name: statistics.median(run[name] for run in runs) for name in names}


def table(zoo: str, result: dict[str, Any]) -> str:
    lines = [f"\n{zoo}: {result['precisions']}"]
    lines.append(f"{'':22}{'photos/s':>10}{'CPU ms/photo':>14}{'ready s':>9}{'peak GB':>9}{'ratio':>8}")
    for name, way in result["ways"].items():
        ratio = result["times_as_fast"].get(name)
        last = f"{ratio:7.1f}x" if ratio else f"{'rival' if name == result['rival'] else '':>8}"
        columns = f"{way['photos_per_second']:10.2f}{way['cpu_ms']:14.1f}{way['ready']:9.1f}{way['peak_gb']:9.2f}"
        lines.append(f"{name:22}{columns}{last}")
    return "\n".join(lines)


def in_own_process(work: Any, *arguments: Any) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    near, far = context.Pipe(duplex=False)
    process = context.Process(target=answer, args=(far, work, *arguments))
    process.start()
    far.close()
    result: dict[str, Any] = near.recv()
    process.join()
    print(work.__name__, result, file=sys.stderr, flush=True)
    return result


def answer(pipe: Any, work: Any, *arguments: Any) -> None:
    pipe.send(work(*arguments))


def look(cards: tuple[Card, ...], paths: list[str], taps: tuple[str, ...], precision: Any, engine: str) -> dict:
    """Our way: the whole of `manyeyes extract` but for listing the photos."""
    start = time.perf_counter()
    backbones = [Backbone.load(card, True, taps, precision, engine) for card in cards]
    for backbone in backbones:
        backbone.expect(10_000)
        _ = backbone.encoder
    ready = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as store:
        result = timed(lambda: fill_store(paths, backbones, FeatureStore(store)), len(paths))
    precisions = ", ".join(sorted({backbone.precision for backbone in backbones}))
    return result | {"ready": ready, "precisions": precisions}


def loop(cards: tuple[Card, ...], paths: list[str], workers: int) -> dict:
    """What people write."""
    ready, total = 0.0, {"seconds": 0.0, "cpu": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        for card in cards:
            start = time.perf_counter()
            network = NETS[card.net]().assemble(card, ensure_weights(card, True)).network
            ready += time.perf_counter() - start
            photos = Photos(paths, timm.data.create_transform(**as_timm_says(card), is_training=False))
            # Workers are forked, as they are unless one says otherwise; not started anew, as in this child of ours.
            how = {"num_workers": workers, "multiprocessing_context": "fork"} if workers else {}
            loader = DataLoader(photos, batch_size=64, **how)
            start, cpu = time.perf_counter(), cpu_seconds()
            with torch.inference_mode():
                features = [network(batch)[0].numpy() for batch in loader]
            np.save(Path(folder) / f"{card.name}.npy", np.concatenate(features))
            total["seconds"] += time.perf_counter() - start
            total["cpu"] += cpu_seconds() - cpu
    return figures(total["seconds"], total["cpu"], len(paths)) | {"ready": ready}


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


def timed(work: Any, photos: int) -> dict[str, float]:
    start, cpu = time.perf_counter(), cpu_seconds()
    work()
    return figures(time.perf_counter() - start, cpu_seconds() - cpu, photos)


def figures(seconds: float, cpu: float, photos: int) -> dict[str, float]:
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {"photos_per_second": photos / seconds, "cpu_ms": 1000 * cpu / photos, "peak_gb": peak / 2**20}


def cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    main()
