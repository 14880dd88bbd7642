"""Whether bfloat16 harms: every block's cosine to float32, and the accuracy of a head trained and judged in each.

    python benchmarks/precision.py PHOTOS… [--zoo mirror] [--features FOLDER] -o docs/results/precision.md

A head (a ridge, as `--expert ridge`) is trained on half of the photos and judged on the other half, both ways, with
three seeds: trained and judged in float32, in bfloat16, and trained on what one engine saw in bfloat16 and judged on
what another saw, whose bfloat16 rounds otherwise. The differences are to float32's accuracy, over all photos of all
sets, with their 95% intervals by photo. A block passes when neither is half a point worse at the interval's lower end;
a card whose blocks all pass is marked `bf16_checked`, and `--precision auto` uses bfloat16 for it.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from record import keep, table

from manyeyes.backbones.backbone import Backbone
from manyeyes.backbones.nets import FINAL, SECOND_ORDER
from manyeyes.backbones.zoo import read_zoo
from manyeyes.experts import EXPERTS
from manyeyes.features.extract import extract
from manyeyes.features.store import FeatureStore
from manyeyes.features.table import FeatureTable, backbone_of
from manyeyes.home import cache_home
from manyeyes.images import read_photos
from manyeyes.progress import counting
from manyeyes.study.compare import cross_validation
from manyeyes.threads import one_thread

# What a head is trained on, and what it is judged on: precision and engine.
FULL, HALF, OTHER = ("fp32", "openvino"), ("bf16", "openvino"), ("bf16", "torch")
WAYS = {"fp32": (FULL, FULL), "bf16": (HALF, HALF), "across": (HALF, OTHER)}
MARGIN = 0.5
SEEDS = range(3)
FloatArray = npt.NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--zoo", default="mirror")
    parser.add_argument("--expert", default="ridge")
    parser.add_argument("--features", type=Path, help="where what was seen is kept, by engine")
    parser.add_argument("--accept-undeclared-licence", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    sets = {folder.name: judge(folder, arguments) for folder in arguments.photos}
    blocks = {name: summary([one[name] for one in sets.values()]) for name in next(iter(sets.values()))}
    photos = sum(len(next(iter(one.values()))["cosine"]) for one in sets.values())
    text = f"{photos:,} photos of {', '.join(sets)}.\n\n{page(blocks)}"
    keep(
        arguments.output,
        "bfloat16 beside float32",
        {"photos": photos, "blocks": blocks, "passed": passed(blocks)},
        text,
    )


def judge(folder: Path, arguments: argparse.Namespace) -> dict[str, dict[str, FloatArray]]:
    """By block: cosines (n,), and by photo how often each way was right, (n,) of 0..1."""
    photos = read_photos(folder)
    tables: dict[tuple[str, str], FeatureTable] = {}
    for precision, engine in (FULL, HALF, OTHER):
        how = (arguments.accept_undeclared_licence, (FINAL, SECOND_ORDER), precision, engine)
        store = FeatureStore((arguments.features or cache_home()) / f"features-by-{engine}")
        seen = extract(photos.paths, [Backbone.load(card, *how) for card in read_zoo(arguments.zoo)], store)
        tables[precision, engine] = seen.table
    good = photos.select(seen.is_good)
    labels = np.array(good.labels)
    splits = cross_validation(labels, 2, SEEDS, seen.together(good.groups))
    names, found = tables[FULL].names, {}
    with counting(folder.name, len(names), "blocks") as advance, one_thread(blas=True):
        for name in names:
            rows = {which: table.blocks[name] for which, table in tables.items()}
            found[name] = {"cosine": cosines(rows[FULL], rows[HALF]), "cosine across": cosines(rows[HALF], rows[OTHER])}
            for way, (taught, asked) in WAYS.items():
                right = np.zeros(len(labels))
                for split in splits:
                    head = EXPERTS[arguments.expert]().fit(rows[taught][split.train], labels[split.train])
                    right[split.test] += head.predict(rows[asked][split.test]) == labels[split.test]
                found[name][way] = right / len(SEEDS)
            advance(1)
    return found


def cosines(one: FloatArray, other: FloatArray) -> FloatArray:
    return (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


def summary(sets: list[dict[str, FloatArray]]) -> dict[str, Any]:
    """Over all photos of all sets; accuracies and differences, with their intervals, in per cent."""
    whole = {key: np.concatenate([one[key] for one in sets]) for key in sets[0]}
    found: dict[str, Any] = {way: 100 * float(whole[way].mean()) for way in WAYS}
    for key in ("cosine", "cosine across"):
        found[key] = {"least": float(whole[key].min()), "median": float(np.median(whole[key]))}
    for way in ("bf16", "across"):
        differences = 100 * (whole[way] - whole["fp32"])
        mean, error = differences.mean(), 1.96 * differences.std(ddof=1) / np.sqrt(len(differences))
        found[f"{way} less fp32"] = [float(value) for value in (mean, mean - error, mean + error)]
    return found


def passed(blocks: dict[str, dict[str, Any]]) -> list[str]:
    """The backbones all of whose blocks pass."""
    failed = {
        backbone_of(name)
        for name, block in blocks.items()
        if min(block[f"{way} less fp32"][1] for way in ("bf16", "across")) <= -MARGIN
    }
    return [name for name in dict.fromkeys(map(backbone_of, blocks)) if name not in failed]


def page(blocks: dict[str, dict[str, Any]]) -> str:
    head = ["block", "cosine to fp32: least", "median", "fp32 %", "bf16 %", "difference, points"]
    head += ["cosine of the engines: least", "median", "across %", "difference, points"]
    rows = [
        [
            name,
            *(f"{block['cosine'][which]:.4f}" for which in ("least", "median")),
            f"{block['fp32']:.2f}",
            f"{block['bf16']:.2f}",
            difference(block["bf16 less fp32"]),
            *(f"{block['cosine across'][which]:.4f}" for which in ("least", "median")),
            f"{block['across']:.2f}",
            difference(block["across less fp32"]),
        ]
        for name, block in blocks.items()
    ]
    explained = " ".join(__doc__.split("\n\n")[2].split())
    return f"{explained}\n\n{table(head, rows)}\n\nPassed: {', '.join(passed(blocks))}."


def difference(values: list[float]) -> str:
    mean, low, high = values
    return f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"


if __name__ == "__main__":
    main()
