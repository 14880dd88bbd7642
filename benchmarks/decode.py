"""From files to what backbones look at: photos a second on one core, our way against Pillow's plain way.

    python benchmarks/decode.py PHOTOS [--megapixels 12] -o decode.json

Every photo is read, decoded, framed for each backbone of a zoo, and made a thumbnail. Ours is decoded by simplejpeg, or
by Pillow; the plain way decodes with Pillow, and resizes and crops with Pillow once for each backbone. The ways take
turns; times are those of the processor, medians over the rounds. The share of the whole pipeline's time is the CPU
milliseconds a photo printed here, divided by those that benchmarks/extraction.py prints.
"""

import argparse
import json
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

import numpy as np
import torch
from command import command
from PIL import Image

from manyeyes.backbones.card import Card
from manyeyes.backbones.cards.lite import LITE
from manyeyes.backbones.cards.mirror import MIRROR
from manyeyes.backbones.preprocess import frame
from manyeyes.images import Rejected, decode, jpeg, list_photos, thumbnail

ZOOS = {"lite": LITE, "mirror": MIRROR}
STAGES = ("read", "decode", "frame", "thumbnail")
PLAIN = "plain Pillow"
THUMBNAIL = 64
GRAIN = 6  # grey levels up or down: what a camera adds, and what makes large JPEGs large
SIMPLEJPEG = jpeg.decode_jpeg

Way = Callable[[Path, Sequence[Card]], list[float]]


def main() -> None:
    arguments = parse()
    torch.set_num_threads(1)
    paths = [Path(path) for path in list_photos([arguments.photos])][:: arguments.every][: arguments.count]
    with tempfile.TemporaryDirectory() as folder:
        if arguments.megapixels:
            paths = [enlarged(path, arguments.megapixels, Path(folder)) for path in paths]
        results = {zoo: compare(paths, cards, arguments.rounds) for zoo, cards in ZOOS.items()}
        memory = peaks(paths[0], enlarged(paths[0], 0.01, Path(folder))) if sys.platform == "linux" else {}
        megapixels = statistics.mean(np.prod(Image.open(path).size) for path in paths) / 1e6
    about = {"command": command(), "photos": len(paths), "megapixels": megapixels, "rounds": arguments.rounds}
    print(f"{len(paths)} photos of {megapixels:.2g} megapixels, {arguments.rounds} rounds, one core")
    print(table(results, memory))
    if arguments.output:
        record = about | {"zoos": results, "peak_memory_bytes": memory}
        arguments.output.write_text(json.dumps(record, indent=1), encoding="utf-8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, help="A folder of photos.")
    parser.add_argument("--count", type=int, default=200, help="How many photos to take.")
    parser.add_argument("--every", type=int, default=1, help="Take every nth photo of the folder.")
    parser.add_argument("--megapixels", type=float, help="Enlarge the photos to this size first, as JPEG with grain.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("-o", "--output", type=Path)
    return parser.parse_args()


def ways() -> dict[str, Way]:
    decoders = {"Pillow": None} | ({"simplejpeg": SIMPLEJPEG} if SIMPLEJPEG else {})
    return {f"ours, {name}": partial(ours, decoder) for name, decoder in decoders.items()} | {PLAIN: plain}


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


def compare(paths: Sequence[Path], cards: Sequence[Card], rounds: int) -> dict[str, dict[str, float]]:
    """For each way the milliseconds a photo, in all and by stage, and how often the plain way's time holds its own."""
    contenders = ways()
    for way in contenders.values():
        way(paths[0], cards)
    seconds: dict[str, list[np.ndarray]] = {name: [] for name in contenders}
    for turn in range(rounds):
        names = list(contenders)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            seconds[name].append(np.mean([contenders[name](path, cards) for path in paths], axis=0))
    results = {}
    for name, runs in seconds.items():
        stages = dict(zip(STAGES, (1000 * np.median(runs, axis=0)).tolist(), strict=True))
        whole = float(1000 * np.median([run.sum() for run in runs]))
        ratio = float(np.median([other.sum() / run.sum() for other, run in zip(seconds[PLAIN], runs, strict=True)]))
        results[name] = {"ms": whole, "photos_per_second": 1000 / whole, "times_plain": ratio} | stages
    return results


def enlarged(path: Path, megapixels: float, folder: Path) -> Path:
    with Image.open(path) as photo:
        scale = (megapixels * 1e6 / (photo.width * photo.height)) ** 0.5
        # Multiples of 16, as cameras make them.
        sides = [round(side * scale / 16) * 16 for side in photo.size]
        large = photo.convert("RGB").resize((sides[0], sides[1]))
    grain = np.random.default_rng(0).integers(-GRAIN, GRAIN + 1, (large.height, large.width, 3), np.int16)
    target = folder / f"{len(list(folder.iterdir()))}.jpg"
    Image.fromarray((np.asarray(large) + grain).clip(0, 255).astype(np.uint8)).save(target, quality=90)
    return target


def peaks(path: Path, small: Path) -> dict[str, int]:
    """What ``peak`` says of each way, each in a process of its own, which holds no memory that was freed before."""
    found = {}
    for name in ways():
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            found[name] = process.submit(peak, name, path, small).result()
    return found


def peak(name: str, path: Path, small: Path) -> int:
    """Bytes of memory that the photo takes at the highest moment, on Linux; those of a small photo are not counted."""
    torch.set_num_threads(1)
    way = ways()[name]
    way(small, MIRROR)
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark falls to what is in use now
    before = _kilobytes("VmRSS")
    way(path, MIRROR)
    return 1024 * (_kilobytes("VmHWM") - before)


def _kilobytes(field: str) -> int:
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith(field))


def table(results: dict[str, dict[str, dict[str, float]]], memory: dict[str, int]) -> str:
    head = ["zoo", "way", "photos/s", "CPU ms/photo", *STAGES, "× plain", "peak MB"]
    lines = ["| " + " | ".join(head) + " |", "|---" * 2 + "|---:" * (len(head) - 2) + "|"]
    for zoo, by_way in results.items():
        for name, one in by_way.items():
            cells = [zoo, name, f"{one['photos_per_second']:,.0f}", f"{one['ms']:.2f}"]
            cells += [f"{one[stage]:.2f}" for stage in STAGES]
            cells += [f"{one['times_plain']:.1f}", f"{memory[name] / 1e6:,.0f}" if zoo == "mirror" and memory else ""]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
