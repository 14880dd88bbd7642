"""Kills, full disks, two writers, damaged shards: all that the store then returns is compared with the truth.

    python benchmarks/faults.py                                   # tiny nets and photos, made on the spot
    python benchmarks/faults.py PHOTOS --zoo lite --limit 500     # real ones

Each round happens to processes that really extract. Ends with status 1 when a row was wrong or a finished one lost.
"""

import argparse
import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from manyeyes import __version__
from manyeyes.backbones.backbone import Backbone
from manyeyes.backbones.card import Card, Preprocessing
from manyeyes.backbones.nets import FINAL, SECOND_ORDER
from manyeyes.backbones.timm_import import timm
from manyeyes.backbones.zoo import read_zoo
from manyeyes.errors import ManyEyesError
from manyeyes.features import writer
from manyeyes.features.extract import extract
from manyeyes.features.space import THUMBNAILS, Space, embedding_space
from manyeyes.features.store import FeatureStore
from manyeyes.features.table import FeatureTable, block_name
from manyeyes.images import list_photos

# How far a number may lie from the truth, in deviations of its column: batches of another size round otherwise.
TOLERANCE = {"fp32": 1e-2, "bf16": 0.2}
DAMAGES = ("cut off", "emptied", "a bit flipped", "written over", "another space's")

# Many small shards, so that kills come between two writes and in the middle of one. Children import this file too.
writer.PHOTOS = 64

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["manyeyes.features.extract", "manyeyes.backbones.timm_import"])


@dataclass
class Tally:
    """What was seen in the rounds of one kind. A row is one photo in one space."""

    rounds: int = 0
    kills: int = 0
    rows_checked: int = 0
    wrong_rows: int = 0
    rows_not_equal_to_the_bit: int = 0
    finished_rows_lost: int = 0
    half_written_files_left: int = 0
    unexpected_errors: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def note_error(self, said: str, is_expected: bool) -> None:
        """An error that the user is meant to see has one line."""
        self.errors[said] = self.errors.get(said, 0) + 1
        self.unexpected_errors += not is_expected or "\n" in said

    @property
    def is_good(self) -> bool:
        return self.rounds > 0 and not (self.wrong_rows or self.finished_rows_lost or self.unexpected_errors)


@dataclass(frozen=True)
class Setting:
    """Who looks at what."""

    paths: list[str]
    zoo: str
    precision: str

    def backbones(self) -> list[Backbone]:
        taps = (FINAL, SECOND_ORDER)
        return [Backbone.load(card, True, taps, self.precision) for card in read_zoo(self.zoo)]


def main() -> None:
    arguments = parse()
    if arguments.child:
        full_disk_child(**json.load(sys.stdin))
        return
    with tempfile.TemporaryDirectory(prefix="manyeyes-faults-") as scratch:
        tallies = run(arguments, Path(scratch))
    print(table(tallies))
    for kind, tally in tallies.items():
        for error, count in tally.errors.items():
            print(f"{kind}: {count} × {error}")
    made_by = f"manyeyes {__version__}, torch {torch.__version__}, {os.cpu_count()} cores, seed {arguments.seed}"
    print(f"\n{sum(tally.kills for tally in tallies.values())} kills. Made with {made_by}.")
    record = {"made_by": made_by, "rounds": {kind: asdict(tally) for kind, tally in tallies.items()}}
    arguments.output.write_text(json.dumps(record, indent=1) + "\n")
    sys.exit(0 if all(tally.is_good for tally in tallies.values()) else 1)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, nargs="?", help="a folder of photos; without it, tiny ones are made")
    parser.add_argument("--zoo", default="lite", help="who looks at the photos of the folder")
    parser.add_argument("--precision", choices=list(TOLERANCE), default="fp32")
    parser.add_argument("--limit", type=int, default=640, help="how many photos")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=20, help="of full disks, of two writers, and of damaged shards")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=Path("faults.json"))
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def run(arguments: argparse.Namespace, scratch: Path) -> dict[str, Tally]:
    if arguments.photos is None:
        # Before the first child starts, so that all have it: nothing of the user's is touched.
        os.environ["MANYEYES_HOME"] = str(scratch / "home")
        setting = Setting(make_photos(scratch / "photos", arguments.limit), make_nets(scratch), arguments.precision)
    else:
        paths = list_photos([arguments.photos])[: arguments.limit]
        setting = Setting(paths, arguments.zoo, arguments.precision)
    chance = random.Random(arguments.seed)
    truth = Truth(setting, scratch / "truth")
    tallies = {}
    for kind, rounds, play in (
        ("kill -9", arguments.kills, kill),
        ("two writers, one or none killed", arguments.rounds, two_writers),
        ("damaged shards", arguments.rounds, damage),
        ("full disk", arguments.rounds if can_mount() else 0, fill_disk),
    ):
        start, tally = time.perf_counter(), Tally()
        play(truth, scratch / "stores", chance, rounds, tally)
        tally.seconds = time.perf_counter() - start
        tallies[kind] = tally
        print(f"{kind}: {tally.rounds} rounds in {tally.seconds:.0f} s", file=sys.stderr, flush=True)
    return tallies


class Truth:
    """What an uninterrupted run gives, and how what others give is compared with it."""

    def __init__(self, setting: Setting, root: Path) -> None:
        self.setting, self.root = setting, root
        backbones, store = setting.backbones(), FeatureStore(root)
        self.photos = list(dict.fromkeys(extract(setting.paths, backbones, store).photos))
        taps = [(backbone, tap) for backbone in backbones for tap in backbone.taps]
        self.blocks = {block_name(one.card.name, tap): embedding_space(one, tap) for one, tap in taps}
        self.spaces = [THUMBNAILS, *self.blocks.values()]
        self.columns = {space.folder: store.read(space, self.photos) for space in self.spaces}
        self.everything = {(space.folder, photo) for space in self.spaces for photo in self.photos}
        self.bytes = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())

    def check_store(self, root: Path, before: set[tuple[str, str]], tally: Tally) -> set[tuple[str, str]]:
        """The rows (space, photo) that the store holds; ``before`` are those that it had held."""
        store, finished = FeatureStore(root), set()
        for space in self.spaces:
            missing = set(store.missing(space, self.photos))
            rows = [row for row, photo in enumerate(self.photos) if photo not in missing]
            if rows:
                self._compare(space, store.read(space, [self.photos[row] for row in rows]), rows, tally)
            finished |= {(space.folder, self.photos[row]) for row in rows}
        tally.finished_rows_lost += len(before - finished)
        tally.half_written_files_left += len(list(root.rglob(".writing-*")))
        return finished

    def check_table(self, table: FeatureTable, photos: tuple[str, ...], tally: Tally) -> None:
        """A table that an extraction returned."""
        row_of = {photo: row for row, photo in enumerate(self.photos)}
        rows = [row_of[photo] for photo in photos]
        self._compare(THUMBNAILS, {"pixels": table.thumbnails}, rows, tally)
        for name, space in self.blocks.items():
            self._compare(space, {"h": table.blocks[name]}, rows, tally)

    def _compare(self, space: Space, found: dict[str, np.ndarray], rows: list[int], tally: Tally) -> None:
        is_exact, is_wrong = np.ones(len(rows), bool), np.zeros(len(rows), bool)
        for name, values in found.items():
            whole = self.columns[space.folder][name]
            expected = whole[rows]
            axes = tuple(range(1, expected.ndim))
            is_exact &= (values == expected).all(axis=axes)
            if values.dtype.kind == "f":
                allowed = TOLERANCE[self.setting.precision] * whole.std(axis=0) + 1e-6
                is_wrong |= ~(np.abs(values - expected) <= allowed).all(axis=axes)
            elif name == "pixels":
                is_wrong |= (values != expected).any(axis=axes)
        tally.rows_checked += len(rows)
        tally.wrong_rows += int(is_wrong.sum())
        tally.rows_not_equal_to_the_bit += int((~is_exact).sum())


class Child:
    """A process that extracts into the store at ``root``."""

    def __init__(self, setting: Setting, root: Path) -> None:
        self.pipe, far = processes.Pipe()
        self.process = processes.Process(target=work, args=(setting, root, far))
        self.process.start()
        far.close()
        self.pipe.recv()

    def go(self) -> None:
        self.pipe.send("go")

    def kill(self) -> None:
        self.process.kill()
        self.process.join()

    def check(self, truth: Truth, root: Path, tally: Tally) -> None:
        """What it returned, when it has ended by itself."""
        outcome = self.pipe.recv()
        self.process.join()
        if isinstance(outcome, tuple):
            truth.check_table(*outcome, tally)
        else:
            said = f"{type(outcome).__name__}: {outcome}".replace(str(root), "STORE")
            tally.note_error(said, isinstance(outcome, ManyEyesError))


def work(setting: Setting, root: Path, answer: Connection) -> None:
    backbones = setting.backbones()
    answer.send("ready")
    answer.recv()
    try:
        seen = extract(setting.paths, backbones, FeatureStore(root))
        answer.send((seen.table, seen.photos))
    except Exception as error:
        answer.send(error)


def kill(truth: Truth, stores: Path, chance: random.Random, rounds: int, tally: Tally) -> None:
    """Killed at a random moment, again and again, until the store is full; then another store."""
    store, finished, seconds = 0, set(), how_long(truth, stores / "first")
    while tally.kills < rounds:
        root = stores / f"killed-{store}"
        child = Child(truth.setting, root)
        child.go()
        to_do = 1 - len(finished) / len(truth.everything)
        if child.pipe.poll(chance.uniform(0, seconds * to_do)):
            child.check(truth, root, tally)
        else:
            child.kill()
            tally.kills += 1
        tally.rounds += 1
        finished = truth.check_store(root, finished, tally)
        if finished == truth.everything:
            shutil.rmtree(root)
            store, finished = store + 1, set()


def how_long(truth: Truth, root: Path) -> float:
    """Seconds of a whole run, the networks' building included."""
    child = Child(truth.setting, root)
    start = time.perf_counter()
    child.go()
    child.pipe.recv()
    return time.perf_counter() - start


def two_writers(truth: Truth, stores: Path, chance: random.Random, rounds: int, tally: Tally) -> None:
    seconds = how_long(truth, stores / "another")
    for number in range(rounds):
        root = stores / f"shared-{number}"
        children = [Child(truth.setting, root) for _ in range(2)]
        for child in children:
            child.go()
        if number % 2 and not children[0].pipe.poll(chance.uniform(0, seconds)):
            children.pop(0).kill()
            tally.kills += 1
        for child in children:
            child.check(truth, root, tally)
        truth.check_store(root, truth.everything, tally)
        tally.rounds += 1
        shutil.rmtree(root)


def damage(truth: Truth, stores: Path, chance: random.Random, rounds: int, tally: Tally) -> None:
    """Some shards of a full store are damaged; what is left is checked, and what the next run returns."""
    for number in range(rounds):
        root = stores / f"damaged-{number}"
        shutil.copytree(truth.root, root)
        shards = sorted(root.rglob("shard-*"))
        for shard in chance.sample(shards, min(len(shards), 1 + number % 5)):
            other = chance.choice([one for one in shards if one.parent != shard.parent])
            shard.write_bytes(damaged(shard.read_bytes(), other.read_bytes(), chance))
        truth.check_store(root, set(), tally)
        child = Child(truth.setting, root)
        child.go()
        child.check(truth, root, tally)
        truth.check_store(root, truth.everything, tally)
        tally.rounds += 1
        shutil.rmtree(root)


def damaged(data: bytes, other: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(data))
    kind = chance.choice(DAMAGES)
    if kind == "cut off":
        return data[:place]
    if kind == "emptied":
        return b""
    if kind == "a bit flipped":
        return data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]
    if kind == "written over":
        return (data[:place] + chance.randbytes(512) + data[place + 512 :])[: len(data)]
    return other


def fill_disk(truth: Truth, stores: Path, chance: random.Random, rounds: int, tally: Tally) -> None:
    """A small disk is full in the middle of a run; on a larger one, what was finished is not looked at again."""
    for number in range(rounds):
        root = stores / f"full-{number}"
        root.mkdir(parents=True)
        size = int(chance.uniform(0.02, 0.98) * truth.bytes)
        task = {**asdict(truth.setting), "root": str(root), "kept": f"{root}-kept", "size": size}
        command, given = ["unshare", "-rm", sys.executable, __file__, "--child"], json.dumps(task)
        said = subprocess.run(command, check=True, input=given, stdout=subprocess.PIPE, text=True).stdout
        tally.note_error(said.rstrip("\n").replace(str(root), "STORE"), said.startswith("StoreError: "))
        kept = Path(task["kept"])
        finished = truth.check_store(kept, set(), tally)
        child = Child(truth.setting, kept)
        child.go()
        child.check(truth, kept, tally)
        truth.check_store(kept, finished, tally)
        tally.rounds += 1
        shutil.rmtree(kept)


def full_disk_child(paths: list[str], zoo: str, precision: str, root: str, kept: str, size: int) -> None:
    """In mounts of its own: the disk goes with this process, so what lies on it is brought away."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", root], check=True)
    try:
        extract(paths, Setting(paths, zoo, precision).backbones(), FeatureStore(Path(root)))
        print("no error")
    except Exception as error:
        print(f"{type(error).__name__}: {error}")
    shutil.copytree(root, kept)


def can_mount() -> bool:
    if shutil.which("unshare") and subprocess.run(["unshare", "-rm", "true"], check=False).returncode == 0:
        return True
    print("this system lets nobody mount a disk for himself: no round of full disks", file=sys.stderr)
    return False


def make_photos(folder: Path, count: int) -> list[str]:
    folder.mkdir()
    paths = [folder / f"{number:04}.png" for number in range(count)]
    for number, path in enumerate(paths):
        colours = np.random.default_rng(number).integers(0, 256, (4, 6, 3), dtype=np.uint8)
        Image.fromarray(colours).resize((48, 36), Image.Resampling.BICUBIC).save(path)
    return [str(path) for path in paths]


def make_nets(folder: Path) -> str:
    """Two of timm's own test nets with random weights, as a zoo."""
    torch.manual_seed(0)
    for name, labels in (("test_resnet", "imagenet-1k"), ("test_byobnet", None)):
        net = timm.create_model(name, pretrained=False)
        (folder / name).mkdir()
        save_file(net.state_dict(), folder / name / "weights.safetensors")
        preprocessing = Preprocessing(size=64, crop=0.95, interpolation="bilinear")
        source = "local:weights.safetensors"
        card = Card(name, source, name, net.num_features, preprocessing, labels=labels, licence="Apache-2.0")
        (folder / name / "card.json").write_text(json.dumps(card.to_dict()))
    return ",".join(f"local:{folder / name}" for name in ("test_resnet", "test_byobnet"))


def table(tallies: dict[str, Tally]) -> str:
    lines = [
        "| what happened | rounds | kills | rows checked | wrong rows | unequal to the bit | finished rows lost | s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for kind, one in tallies.items():
        lines.append(
            f"| {kind} | {one.rounds} | {one.kills} | {one.rows_checked:,} | {one.wrong_rows} "
            f"| {one.rows_not_equal_to_the_bit} | {one.finished_rows_lost} | {one.seconds:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
