"""Kills, full disks, two writers, damaged shards: all that the store then returns is compared with the truth.

    python benchmarks/faults.py                                   # tiny nets and photos, made on the spot
    python benchmarks/faults.py PHOTOS --zoo lite --limit 500     # real ones

Each round happens to processes that put together the small shards of a store and then really extract. Ends with status
1 when a row was wrong or a finished one lost. A kill tests something when the store holds rows after it that it had not
held before, or when a file is left half written; how many do is counted.
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
import threading
import time
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path

from record import keep, table
from truth import TOLERANCE, Setting, Tally, Truth, make_nets, make_photos

from manyeyes.errors import ManyEyesError
from manyeyes.features import writer
from manyeyes.features.extract import extract
from manyeyes.features.store import FeatureStore
from manyeyes.images import list_photos

DAMAGES = ("cut off", "emptied", "a bit flipped", "written over", "another space's")

# Many small shards, so that kills come between two writes and in the middle of one. Children import this file too.
writer.PHOTOS = 64

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["manyeyes.features.extract", "manyeyes.backbones.timm_import"])


def main() -> None:
    arguments = parse()
    if arguments.child:
        full_disk_child(**json.load(sys.stdin))
        return
    with tempfile.TemporaryDirectory(prefix="manyeyes-faults-") as scratch:
        tallies = run(arguments, Path(scratch))
    errors = [f"{kind}: {count} × {error}" for kind, one in tallies.items() for error, count in one.errors.items()]
    text = "\n\n".join([page(tallies), *errors])
    record = {"seed": arguments.seed, "rounds": {kind: asdict(tally) for kind, tally in tallies.items()}}
    keep(arguments.output, "Kills, full disks, two writers, damaged shards", record, text)
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
    parser.add_argument("-o", "--output", type=Path)
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
        ("two writers and a gatherer, one writer or none killed", arguments.rounds, two_writers),
        ("damaged shards", arguments.rounds, damage),
        *([("full disk", arguments.rounds, fill_disk)] if can_mount() else []),
    ):
        start, tally = time.perf_counter(), Tally()
        play(truth, scratch / "stores", chance, rounds, tally)
        tally.seconds = time.perf_counter() - start
        tallies[kind] = tally
        print(f"{kind}: {tally.rounds} rounds in {tally.seconds:.0f} s", file=sys.stderr, flush=True)
    return tallies


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
        gather(root)
        seen = extract(setting.paths, backbones, FeatureStore(root))
        answer.send((seen.table, seen.photos))
    except Exception as error:
        answer.send(error)


def gather(root: Path) -> None:
    """As `manyeyes features prune`: small shards are put together in larger ones, and then removed."""
    store = FeatureStore(root)
    for space in store.spaces():
        store.gather(space.folder, 2)


def gather_until(over: threading.Event, root: Path) -> None:
    while not over.wait(0.05):
        gather(root)


def kill(truth: Truth, stores: Path, chance: random.Random, rounds: int, tally: Tally) -> None:
    """Killed again and again until the store is full, then another store: at any moment, or as a file is written."""
    store, finished, seconds = 0, set(), how_long(truth, stores / "first")
    while tally.kills < rounds:
        root = stores / f"killed-{store}"
        child, left = Child(truth.setting, root), hidden(root)
        child.go()
        if chance.random() < 0.5:
            # Long enough for hashing the photos and for what is still to be done of them, and a little more.
            has_ended = child.pipe.poll(chance.uniform(0, seconds * (1.2 - len(finished) / len(truth.everything))))
        else:
            has_ended = ended_before_writing(child, root, left, chance.randrange(20))
        if has_ended:
            child.check(truth, root, tally)
        else:
            child.kill()
            tally.kills += 1
            tally.kills_in_a_write += hidden(root) > left
        tally.rounds += 1
        before, finished = finished, truth.check_store(root, finished, tally)
        tally.kills_with_new_rows += not has_ended and finished > before
        if finished == truth.everything:
            shutil.rmtree(root)
            store, finished = store + 1, set()


def hidden(root: Path) -> set[Path]:
    """Files that are being written, or that were when their writer was killed."""
    return set(root.glob("*/.writing-*"))


def ended_before_writing(child: Child, root: Path, left: set[Path], count: int) -> bool:
    """Wait until the child writes its ``count``-th file, or ends."""
    seen = set(left)
    while not child.pipe.poll():
        new = hidden(root) - seen
        seen |= new
        if new and (count := count - len(new)) < 0:
            return False
    return True


def how_long(truth: Truth, root: Path) -> float:
    """Seconds of a whole run."""
    child = Child(truth.setting, root)
    start = time.perf_counter()
    child.go()
    child.pipe.recv()
    return time.perf_counter() - start


def two_writers(truth: Truth, stores: Path, chance: random.Random, rounds: int, tally: Tally) -> None:
    """And this process puts their shards together while they write and read."""
    seconds = how_long(truth, stores / "another")
    for number in range(rounds):
        root = stores / f"shared-{number}"
        children = [Child(truth.setting, root) for _ in range(2)]
        over = threading.Event()
        gatherer = threading.Thread(target=gather_until, args=(over, root))
        gatherer.start()
        for child in children:
            child.go()
        if number % 2 and not children[0].pipe.poll(chance.uniform(0, seconds)):
            children.pop(0).kill()
            tally.kills += 1
        for child in children:
            child.check(truth, root, tally)
        truth.check_store(root, truth.everything, tally)
        over.set()
        gatherer.join()
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


def page(tallies: dict[str, Tally]) -> str:
    head = ["what happened", "rounds", "kills", "with new rows", "in a write", "rows checked"]
    head += ["wrong rows", "unequal to the bit", "finished rows lost", "s"]
    rows = [
        [
            kind,
            *map(str, (one.rounds, one.kills, one.kills_with_new_rows, one.kills_in_a_write)),
            f"{one.rows_checked:,}",
            *map(str, (one.wrong_rows, one.rows_not_equal_to_the_bit, one.finished_rows_lost, round(one.seconds))),
        ]
        for kind, one in tallies.items()
    ]
    return table(head, rows)


if __name__ == "__main__":
    main()
