"""From files to what backbones look at: our way against Pillow's plain way, and its share of the whole pipeline's time.

    python benchmarks/decode.py PHOTOS [--megapixels 12] -o docs/results/decode.md

Every photo is read, decoded, framed for each backbone of a zoo, and made a thumbnail. Ours is decoded by simplejpeg, or
by Pillow; the plain way decodes with Pillow, and resizes and crops with Pillow once for each backbone. The ways take
turns on one core; times are those of the processor, medians over the rounds.

The pipeline is `manyeyes extract` of the same photos on all cores, as it comes; its runs take turns with the others.
The share is what decoding and framing take of the time of its cores; where these are busy all the time, nothing waits
for the decoder.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from large import enlarged
from PIL import Image
from record import keep, status_bytes, table

from manyeyes.backbones.backbone import Backbone
from manyeyes.backbones.card import Card
from manyeyes.backbones.nets import FINAL, SECOND_ORDER
from manyeyes.backbones.preprocess import frame
from manyeyes.backbones.zoo import read_zoo
from manyeyes.features.extract import fill_store
from manyeyes.features.store import FeatureStore
from manyeyes.images import Rejected, decode, jpeg, list_photos, thumbnail

STAGES = ("read", "decode", "frame", "thumbnail")
PLAIN = "plain Pillow"
THUMBNAIL = 64
CORES = os.cpu_count() or 1
SIMPLEJPEG = jpeg.decode_jpeg

Way = Callable[[Path, Sequence[Card]], list[float]]


def main() -> None:
    arguments = parse()
    torch.set_num_threads(1)
    listed = list_photos([arguments.photos])
    paths = [Path(path) for path in listed[:: max(len(listed) // arguments.count, 1)][: arguments.count]]
    with tempfile.TemporaryDirectory() as folder:
        if arguments.megapixels:
            paths = [enlarged(path, arguments.megapixels, Path(folder)) for path in paths]
        zoos = {zoo: compare(paths, read_zoo(zoo), arguments) for zoo in arguments.zoo}
        memory = {}
        if arguments.megapixels and sys.platform == "linux":
            memory = peaks(paths[0], enlarged(paths[0], 0.01, Path(folder)), arguments.zoo[-1])
        megapixels = statistics.mean(np.prod(Image.open(path).size) for path in paths) / 1e6
    text = f"{len(paths)} photos of {megapixels:.2g} megapixels, {arguments.rounds} rounds.\n\n{page(zoos, memory)}"
    results = {"photos": len(paths), "megapixels": megapixels, "zoos": zoos, "peak_memory_bytes": memory}
    keep(arguments.output, "Decoding and framing", results, text)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, help="A folder of photos.")
    parser.add_argument("--zoo", nargs="+", default=["lite", "mirror"])
    parser.add_argument("--count", type=int, default=256, help="How many photos to take.")
    parser.add_argument("--megapixels", type=float, help="Enlarge the photos to this size first, as JPEG with grain.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--accept-undeclared-licence", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    return parser.parse_args()


def ways() -> dict[str, Way]:
    decoders = {"Pillow": None} | ({"simplejpeg": SIMPLEJPEG} if SIMPLEJPEG else {})
    return {PLAIN: plain} | {f"ours, {name}": partial(ours, decoder) for name, decoder in decoders.items()}


def ours(decoder: object, path: Path, cards: Sequence[Card]) -> list[float]:
    """CPU seconds of the stages: once for each distinct framing."""
    jpeg.decode_jpeg = decoder
    clock = [time.process_time()]
    data = path.read_bytes()
    clock.append(time.process_time())
    photo = decode(data, str(path))
    if isinstance(photo, Rejected):
        raise SystemExit(str(photo))
    clock.append(time.process_time())
    for framing in {card.preprocessing.framing for card in cards}:
        frame(photo, *framing)
    clock.append(time.process_time())
    thumbnail(photo, THUMBNAIL)
    clock.append(time.process_time())
    return np.diff(clock).tolist()


def plain(path: Path, cards: Sequence[Card]) -> list[float]:
    """As torchvision's Resize and CenterCrop do it, for one backbone after another."""
    clock = [time.process_time()]
    data = path.read_bytes()
    clock.append(time.process_time())
    photo = Image.open(BytesIO(data)).convert("RGB")
    clock.append(time.process_time())
    for card in cards:
        size, crop, interpolation = card.preprocessing.framing
        shorter, short = int(size / crop), min(photo.size)
        width, height = (shorter if side == short else int(shorter * side / short) for side in photo.size)
        left, top = round((width - size) / 2), round((height - size) / 2)
        resized = photo.resize((width, height), Image.Resampling[interpolation.upper()])
        np.asarray(resized.crop((left, top, left + size, top + size)))
    clock.append(time.process_time())
    np.asarray(photo.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR))
    clock.append(time.process_time())
    return np.diff(clock).tolist()


def compare(paths: Sequence[Path], cards: tuple[Card, ...], arguments: argparse.Namespace) -> dict[str, Any]:
    """For each way the milliseconds a photo, in all and by stage, and the share of the pipeline's."""
    contenders = ways()
    for way in contenders.values():
        way(paths[0], cards)
    backbones = [
        Backbone.load(card, arguments.accept_undeclared_licence, (FINAL, SECOND_ORDER), "auto", "auto")
        for card in cards
    ]
    pipeline(backbones, paths)
    runs: dict[str, list[np.ndarray]] = {name: [] for name in contenders}
    whole: list[tuple[float, float]] = []
    for turn in range(arguments.rounds):
        names = list(contenders)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            runs[name].append(np.mean([contenders[name](path, cards) for path in paths], axis=0))
        whole.append(pipeline(backbones, paths))
    elapsed, busy = np.median(whole, axis=0).tolist()
    found = {}
    for name, stages in runs.items():
        ms = float(1000 * np.median([run.sum() for run in stages]))
        ratio = float(np.median([other.sum() / run.sum() for other, run in zip(runs[PLAIN], stages, strict=True)]))
        shares = [run[1:3].sum() / (CORES * seconds) for run, (seconds, _) in zip(stages, whole, strict=True)]
        by_stage = dict(zip(STAGES, (1000 * np.median(stages, axis=0)).tolist(), strict=True))
        found[name] = {"ms": ms, "times_plain": ratio, "share": float(np.median(shares))} | by_stage
    return {"ways": found, "photos_per_second": 1 / elapsed, "core_ms": 1000 * CORES * elapsed, "busy": busy}


def pipeline(backbones: list[Backbone], paths: Sequence[Path]) -> tuple[float, float]:
    """Seconds a photo of the whole pipeline, and how much of their time its cores were busy."""
    jpeg.decode_jpeg = SIMPLEJPEG
    for backbone in backbones:
        backbone.expect(10_000)
        _ = backbone.encoder
    with tempfile.TemporaryDirectory() as folder:
        start, cpu = time.perf_counter(), time.process_time()
        fill_store([str(path) for path in paths], backbones, FeatureStore(folder))
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return seconds / len(paths), cpu / seconds / CORES


def peaks(path: Path, small: Path, zoo: str) -> dict[str, int]:
    """What ``peak`` says of each way, each in a process of its own, which holds no memory that was freed before."""
    found = {}
    for name in ways():
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            found[name] = process.submit(peak, name, path, small, zoo).result()
    return found


def peak(name: str, path: Path, small: Path, zoo: str) -> int:
    """Bytes of memory that the photo takes at the highest moment, on Linux; those of a small photo are not counted."""
    torch.set_num_threads(1)
    way, cards = ways()[name], read_zoo(zoo)
    way(small, cards)
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark falls to what is in use now
    before = status_bytes("VmRSS")
    way(path, cards)
    return status_bytes("VmHWM") - before


def page(zoos: dict[str, dict[str, Any]], memory: dict[str, int]) -> str:
    head = ["zoo", "way", "CPU ms a photo", *STAGES, "times as fast", "of the pipeline's time", "peak MB"]
    rows = []
    for zoo, result in zoos.items():
        for name, one in result["ways"].items():
            rows.append([zoo, name, f"{one['ms']:.2f}", *(f"{one[stage]:.2f}" for stage in STAGES)])
            rows[-1] += [f"{one['times_plain']:.1f}", f"{one['share']:.1%}"]
            rows[-1] += [f"{memory[name] / 1e6:,.0f}" if zoo == list(zoos)[-1] and memory else ""]
    lines = [
        [zoo, f"{result['photos_per_second']:.1f}", f"{result['core_ms']:.1f}", f"{result['busy']:.0%}"]
        for zoo, result in zoos.items()
    ]
    whole = table(["the whole pipeline", "photos/s", "core-ms a photo", "cores busy"], lines)
    return f"{table(head, rows, left=2)}\n\n{whole}"


if __name__ == "__main__":
    main()
