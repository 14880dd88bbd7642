"""A smaller network inside the fused model: the same photos and gate, with a backbone as it came, and at half its MACs.

    python benchmarks/architecture_fused.py FLOWERS17 --seeds 3 -o docs/results/architecture_fused.md

One backbone of the zoo is adapted; the others are as they came. All see photos of the same size.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from paired import sign_test, spread
from record import keep, table
from torch.utils.flop_counter import FlopCounterMode

from manyeyes import ManyEyesClassifier
from manyeyes.adapt.adapting import open_bank
from manyeyes.adapt.fold import write_folded
from manyeyes.adapt.plan import Plan
from manyeyes.adapt.zoo import AdaptedZoo, Adapting, adapt_zoo
from manyeyes.backbones.card import Card
from manyeyes.backbones.zoo import read_zoo
from manyeyes.images import read_photos
from manyeyes.threads import cores, one_thread

# Of each class, photos to learn from; the rest judges.
OF_CLASS = 40
WAYS = ("as it came", "full", "supernet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--backbone", default="efficientnet-lite0")
    parser.add_argument("--others", default="mobilenet-v2")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    calls = [joblib.delayed(run)(way, seed, arguments) for way in reversed(WAYS) for seed in range(arguments.seeds)]
    with joblib.parallel_config("loky", n_jobs=cores(), inner_max_num_threads=1):
        runs = joblib.Parallel()(calls)
    rows = []
    for way in WAYS:
        mine, plain = ([one for one in runs if one["way"] == name] for name in (way, WAYS[0]))
        cells = [spread([np.mean(one[what]) for one in mine]) for what in ("alone", "right")]
        right, theirs = (np.concatenate([one["right"] for one in some]) for some in (mine, plain))
        costs = [f"{np.mean([one[what] for one in mine]):.3f}" for what in ("macs", "all_macs")]
        rows.append([way, *cells, "" if way == WAYS[0] else sign_test(right, theirs), *costs])
        print(*rows[-1], sep=" | ", flush=True)
    head = [arguments.backbone, "alone", "fused", "difference", "GMACs alone", "GMACs fused"]
    text = (
        f"{arguments.photos.name} at {arguments.size} pixels, {OF_CLASS} photos of each class to learn from. "
        f"{arguments.backbone} as it came, trained in all its weights, and half of it found and trained (`fit --adapt "
        f"supernet`); beside {arguments.others} as it came. Accuracy in %, mean ± standard deviation over "
        f"{arguments.seeds} draws of the photos; difference in points over all photos, with a sign test by photo, "
        "which takes another draw for other photos.\n\n" + table(head, rows)
    )
    figures = [one | {what: float(np.mean(one[what])) for what in ("alone", "right")} for one in runs]
    keep(arguments.output, "A smaller network inside the fused model", {"runs": figures}, text)


def run(way: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Which photos two models are right about: that of the backbone alone, and that of the whole zoo."""
    found = read_photos(arguments.photos)
    paths, labels, random = np.array(found.paths), np.array(found.labels), np.random.default_rng(seed)
    learnt = np.concatenate([random.permutation(np.flatnonzero(labels == one))[:OF_CLASS] for one in found.classes])
    rest = np.setdiff1d(np.arange(len(paths)), learnt)
    with one_thread(), tempfile.TemporaryDirectory() as folder:
        plain = {
            name: at_size(read_zoo(name)[0], arguments.size, Path(folder))
            for name in (arguments.backbone, *arguments.others.split(","))
        }
        mine, photos = plain.pop(arguments.backbone), ()
        if way != WAYS[0]:
            adapting = Adapting(way, seed=seed)
            adapted = adapt_zoo([mine], paths[learnt].tolist(), labels[learnt], None, adapting)
            (mine,), photos = adapted.cards, adapted.learnt
        right = {}
        for name, cards in (("alone", (mine,)), ("right", (mine, *plain.values()))):
            zoo = ",".join((arguments.backbone, *(plain if name == "right" else ())))
            model = ManyEyesClassifier(zoo, gate="constant", adapt=way, random_state=seed)
            # As `adapt_zoo` of the model would, which adapts all of the zoo.
            model._adapted = AdaptedZoo(cards, photos)
            model.fit_seen(model.look(paths[learnt].tolist()), labels[learnt])
            right[name] = (model.predict(paths[rest].tolist()) == labels[rest]).tolist()
    macs = [macs_of(card) for card in (mine, *plain.values())]
    return {"way": way, "seed": seed, "macs": macs[0], "all_macs": sum(macs)} | right


def at_size(card: Card, size: int, folder: Path) -> Card:
    """The same backbone for photos of another size."""
    bank, sized = open_bank(card, size)
    bank.put_new("as it came", ("one", "other"), Plan("norms"))
    return write_folded(bank, "as it came", sized, folder / card.name)


def macs_of(card: Card) -> float:
    """In billions, for one photo."""
    bank, _ = open_bank(card)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        bank.features(torch.zeros(1, bank.size, bank.size, 3, dtype=torch.uint8))
    return counter.get_total_flops() / 2e9


if __name__ == "__main__":
    main()
