"""Feature gates inside the fused model: the same zoo, gate and photos with plain experts and with gated ones.

    python benchmarks/gated_fused.py DOMAINS.toml --only flowers17,trashnet6 --seeds 3 -o docs/results/gated_fused.md

DOMAINS.toml is that of `manyeyes decathlon`; the backbones see photos at their own size.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from paired import sign_test, spread
from record import keep, table

from manyeyes import ManyEyesClassifier
from manyeyes.experts.gated import GatedSoftmax
from manyeyes.study.decathlon.domains import DomainPhotos, read_domains

EXPERTS = ("softmax", "gated")
GATES = ("uniform", "cnn32")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("domains", type=Path)
    parser.add_argument("--only", default="", help="Some of the file's domains.")
    parser.add_argument("--zoo", default="lite")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    found = read_domains(arguments.domains)
    domains = [one for one in found if not arguments.only or one.name in arguments.only.split(",")]
    rows, figures = [], []
    for domain in domains:
        for gate in GATES:
            runs = {
                expert: [judge(expert, gate, domain, arguments.zoo, seed) for seed in range(arguments.seeds)]
                for expert in EXPERTS
            }
            plain, gated = (np.concatenate([one["right"] for one in runs[expert]]) for expert in EXPERTS)
            cells = [spread([one["right"].mean() for one in runs[expert]]) for expert in EXPERTS]
            moved = np.mean([one["moved"] for one in runs["gated"]])
            seconds = [f"{np.mean([one['seconds'] for one in runs[expert]]):.0f}" for expert in EXPERTS]
            rows.append([domain.name, gate, *cells, sign_test(gated, plain), f"{100 * moved:.0f}", " / ".join(seconds)])
            print(*rows[-1], sep=" | ", flush=True)
            for expert in EXPERTS:
                accuracy = [float(one["right"].mean()) for one in runs[expert]]
                figures.append({"domain": domain.name, "gate": gate, "expert": expert, "accuracy": accuracy})
    head = ["", "gate between backbones", "softmax", "gated", "difference", "gates at work, %", "seconds to fit"]
    text = (
        f"Zoo: {arguments.zoo}. Accuracy in %, mean ± standard deviation over {arguments.seeds} draws of the photos; "
        "difference in points over all photos, with a sign test by photo, which takes another draw for other photos. "
        "*Gates at work*: share of the experts whose gate was trained at all: inner folds leave the others at the "
        "plain softmax regression.\n\n" + table(head, rows)
    )
    keep(arguments.output, "Feature gates inside the fused model", {"runs": figures}, text)


def judge(expert: str, gate: str, domain: DomainPhotos, zoo: str, seed: int) -> dict:
    """Which of the photos to judge by a model is right about, and how many of its experts weigh features."""
    learnt, judged = domain.split(seed)
    model = ManyEyesClassifier(zoo, fusion="mixture", gate=gate, expert=expert, random_state=seed)
    groups = None if learnt.groups is None else np.array(learnt.groups)
    seen = model.look(list(learnt.paths))
    start = time.perf_counter()
    model.fit_seen(seen, np.array(learnt.labels), groups)
    seconds = time.perf_counter() - start
    experts = [one for one in model.fusion_.panel_.experts_ if isinstance(one, GatedSoftmax)]
    right = model.predict(list(judged.paths)) == np.array(judged.labels)
    moved = np.mean([one.epochs_ > 0 for one in experts]) if experts else 0.0
    return {"right": right, "moved": float(moved), "seconds": seconds}


if __name__ == "__main__":
    main()
