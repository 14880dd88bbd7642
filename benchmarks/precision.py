"""Whether bfloat16 harms: every block's cosine to float32, and the accuracy of a head trained and judged in each.

    python benchmarks/precision.py PHOTOS… [--zoo mirror] -o docs/results/precision.md

A head (a ridge, as `--expert ridge`) is trained on half of the photos and judged on the other half, both ways, with
three seeds, on features of either precision. The difference is bfloat16's accuracy less float32's, over all photos of
all sets, with its 95% interval by photo. A block passes when bfloat16 is not half a point worse at the interval's lower
end; a card whose blocks all pass is marked `bf16_checked`, and `--precision auto` uses bfloat16 for it.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
from command import command

from manyeyes.backbones.backbone import Backbone
from manyeyes.backbones.nets import FINAL, SECOND_ORDER
from manyeyes.backbones.zoo import read_zoo
from manyeyes.experts import EXPERTS
from manyeyes.features.extract import extract
from manyeyes.features.table import FeatureTable, backbone_of
from manyeyes.images import read_photos
from manyeyes.progress import counting
from manyeyes.study.compare import cross_validation
from manyeyes.threads import one_thread

PRECISIONS = ("fp32", "bf16")
MARGIN = 0.5
SEEDS = range(3)
FloatArray = npt.NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument("--zoo", default="mirror")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--expert", default="ridge")
    parser.add_argument("--accept-undeclared-licence", action="store_true")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    sets = {folder.name: judge(folder, arguments) for folder in arguments.photos}
    blocks = {name: summary([one[name] for one in sets.values()]) for name in next(iter(sets.values()))}
    text = page(blocks, sets, arguments)
    arguments.output.write_text(text, encoding="utf-8")
    record = {"blocks": blocks, "passed": passed(blocks)}
    arguments.output.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(text)


def judge(folder: Path, arguments: argparse.Namespace) -> dict[str, dict[str, FloatArray]]:
    """By block: cosines (n,), and by photo how often each precision was right, (n,) of 0..1."""
    photos = read_photos(folder)
    tables: dict[str, FeatureTable] = {}
    for precision in PRECISIONS:
        taps = (FINAL, SECOND_ORDER)
        how = (arguments.accept_undeclared_licence, taps, precision, arguments.engine)
        seen = extract(photos.paths, [Backbone.load(card, *how) for card in read_zoo(arguments.zoo)])
        tables[precision] = seen.table
    good = photos.select(seen.is_good)
    labels = np.array(good.labels)
    splits = cross_validation(labels, 2, SEEDS, seen.together(good.groups))
    found = {}
    with counting(folder.name, len(tables["fp32"].names), "blocks") as advance, one_thread(blas=True):
        for name in tables["fp32"].names:
            both = [tables[precision].blocks[name] for precision in PRECISIONS]
            right = [np.zeros(len(labels)) for _ in PRECISIONS]
            for split in splits:
                for block, correct in zip(both, right, strict=True):
                    head = EXPERTS[arguments.expert]().fit(block[split.train], labels[split.train])
                    correct[split.test] += head.predict(block[split.test]) == labels[split.test]
            found[name] = {"cosine": cosines(*both)} | {
                precision: correct / len(SEEDS) for precision, correct in zip(PRECISIONS, right, strict=True)
            }
            advance(1)
    return found


def cosines(one: FloatArray, other: FloatArray) -> FloatArray:
    return (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


def summary(sets: list[dict[str, FloatArray]]) -> dict[str, float]:
    """Over all photos of all sets; accuracies and differences in per cent."""
    whole = {key: np.concatenate([one[key] for one in sets]) for key in sets[0]}
    differences = 100 * (whole["bf16"] - whole["fp32"])
    error = 1.96 * differences.std(ddof=1) / np.sqrt(len(differences))
    mean = float(differences.mean())
    return {
        "least_cosine": float(whole["cosine"].min()),
        "median_cosine": float(np.median(whole["cosine"])),
        "fp32": 100 * float(whole["fp32"].mean()),
        "bf16": 100 * float(whole["bf16"].mean()),
        "difference": mean,
        "low": mean - error,
        "high": mean + error,
    }


def passed(blocks: dict[str, dict[str, float]]) -> list[str]:
    """The backbones all of whose blocks pass."""
    failed = {backbone_of(name) for name, block in blocks.items() if block["low"] <= -MARGIN}
    return [name for name in dict.fromkeys(map(backbone_of, blocks)) if name not in failed]


def page(blocks: dict[str, dict[str, float]], sets: dict, arguments: argparse.Namespace) -> str:
    photos = sum(len(next(iter(one.values()))["cosine"]) for one in sets.values())
    lines = [
        "# bfloat16 beside float32",
        f"{photos:,} photos of {', '.join(sets)}; made by `{command()}`.",
        " ".join(__doc__.split("\n\n")[2].split()),
        "| block | least cosine | median cosine | fp32 % | bf16 % | difference, points |\n|---|---|---|---|---|---|\n"
        + "\n".join(row(name, block) for name, block in blocks.items()),
        f"Passed: {', '.join(passed(blocks))}.",
    ]
    return "\n\n".join(lines) + "\n"


def row(name: str, block: dict[str, float]) -> str:
    cosine = f"{block['least_cosine']:.5f} | {block['median_cosine']:.5f}"
    accuracy = f"{block['fp32']:.2f} | {block['bf16']:.2f}"
    difference = f"{block['difference']:+.2f} [{block['low']:+.2f}, {block['high']:+.2f}]"
    return f"| {name} | {cosine} | {accuracy} | {difference} |"


if __name__ == "__main__":
    main()
