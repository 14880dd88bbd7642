"""Adapted backbones in the fusion beside frozen ones: accuracy with few labels, domain by domain, on the same photos.

    python benchmarks/adapted.py DOMAINS.toml --zoo CARDS --per-class 20 --seeds 2 -o docs/results/adapted.md

DOMAINS.toml is that of `manyeyes decathlon`: its size is that of the photos for every model but the first. Each model
gets the same photos to learn from, whatever it does with them; what it is judged by has no part in anything.
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from paired import sign_test, spread
from record import keep, table

from manyeyes import ManyEyesClassifier
from manyeyes.adapt.adapting import open_bank
from manyeyes.adapt.fold import CARD, write_folded
from manyeyes.adapt.plan import Plan
from manyeyes.backbones.zoo import read_zoo
from manyeyes.home import cache_home
from manyeyes.study.decathlon.domains import DomainPhotos, read_domains

MIXTURE = {"fusion": "mixture", "gate": "cnn32"}
OWN_SIZE = "frozen, auto, own size"
RIVAL = "frozen, auto"
MODELS = {
    OWN_SIZE: {},
    RIVAL: {},
    "frozen, mixture": MIXTURE,
    "adapted, auto": {"adapt": "parallel"},
    "adapted, mixture": MIXTURE | {"adapt": "parallel"},
    "adapted jointly": MIXTURE | {"adapt": "parallel", "training": "joint"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("domains", type=Path)
    parser.add_argument("--zoo", default="efficientnet-lite0,mobilenet-v2")
    parser.add_argument("--per-class", type=int, default=20)
    parser.add_argument("--judged", type=int, default=50, help="Photos of each class to judge by, at most.")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    most = arguments.judged
    domains = [
        dataclasses.replace(one, most_judged=min(one.most_judged or most, most))
        for one in read_domains(arguments.domains)
    ]
    right: dict[str, dict[str, list[list[bool]]]] = {name: {} for name in MODELS}
    for domain in domains:
        for seed in range(arguments.seeds):
            for name in MODELS:
                is_right = judge(name, domain, arguments, seed)
                right[name].setdefault(domain.name, []).append(is_right.tolist())
                print(f"{domain.name} {seed} {name}: {is_right.mean():.1%}", flush=True)
    accuracy = {
        name: {domain: [float(np.mean(seed)) for seed in seeds] for domain, seeds in found.items()}
        for name, found in right.items()
    }
    keep(
        arguments.output,
        "Adapted backbones in the fusion",
        {"accuracy": accuracy},
        text(right, arguments, domains[0].size),
    )


def judge(name: str, domain: DomainPhotos, arguments: argparse.Namespace, seed: int) -> np.ndarray:
    """Which of the photos to judge by a model is right about."""
    choices = MODELS[name]
    learnt, judged = domain.split(seed, arguments.per_class)
    zoo = arguments.zoo if name == OWN_SIZE or "adapt" in choices else sized(arguments.zoo, domain.size)
    model = ManyEyesClassifier(zoo, random_state=seed, **choices)
    if "adapt" in choices:
        model.set_params(adapt_size=domain.size, adapt_flip=domain.flip)
    groups = None if learnt.groups is None else np.array(learnt.groups)
    model.fit(list(learnt.paths), np.array(learnt.labels), groups)
    return model.predict(list(judged.paths)) == np.array(judged.labels)


def sized(zoo: str, size: int) -> str:
    """The same backbones, unchanged, for photos of another size: as a zoo."""
    words = []
    for card in read_zoo(zoo):
        folder = cache_home() / "sized" / f"{card.name}-{size}px"
        if not (folder / CARD).is_file():
            bank, other = open_bank(card, size)
            bank.put_new("unchanged", ("one", "other"), Plan("norms"))
            write_folded(bank, "unchanged", other, folder)
        words.append(f"local:{folder}")
    return ",".join(words)


def text(right: dict, arguments: argparse.Namespace, size: int) -> str:
    domains = list(right[OWN_SIZE])
    rows = []
    for name, choices in MODELS.items():
        by_seed = [np.mean([np.mean(right[name][one][seed]) for one in domains]) for seed in range(arguments.seeds)]
        cells = [spread([np.mean(seed) for seed in right[name][one]]) for one in domains]
        rows.append([name, *cells, spread(by_seed), against(right, name) if "adapt" in choices else ""])
    return "\n\n".join(
        [
            f"Zoo: {arguments.zoo}. {arguments.per_class} photos a class to learn from (fewer where there are no "
            f"more), at {size} pixels but in the first row, whose backbones see them at their own size. *Adapted*: "
            "half of the photos train parallel adapters, all of them experts; *jointly*: seven eighths train all at "
            f"once. Accuracy in %, mean ± standard deviation over {arguments.seeds} draws. Differences to "
            f"*{RIVAL}* in points over all photos, with a sign test by photo, which takes another draw for other "
            "photos.",
            table(["", *domains, "mean", f"against {RIVAL}"], rows),
        ]
    )


def against(right: dict, name: str) -> str:
    mine, theirs = (
        np.concatenate([np.ravel(seed) for one in right[key].values() for seed in one]) for key in (name, RIVAL)
    )
    return sign_test(mine, theirs)


if __name__ == "__main__":
    main()
