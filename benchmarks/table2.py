"""Table 2 of "All Together Now!" side by side: the paper's figures, and those of studies made by `manyeyes study`.

    python benchmarks/table2.py STUDY… [--remarks FILE] -o docs/results/table2.md

STUDY is a study's folder or its results.json. The page holds the commands that made the studies.
"""

import argparse
from pathlib import Path

import numpy as np

from manyeyes.study.folder import read_results
from manyeyes.study.page import cell

SOURCE = (
    "Y. S. Resheff, I. Lieder, T. Hope: *All Together Now! The Benefits of Adaptively Fusing Pre-trained Deep "
    "Representations*, ICPRAM 2019, Table 2"
)
DATASETS = ("Actions", "CUB", "C101", "C256", "F102", "F17", "Pets")
# Accuracy %, in the order of DATASETS.
PAPER = {
    "Inception": (78.72, 63.12, 92.02, 83.36, 89.06, 92.65, 92.50),
    "ResNet": (75.22, 63.10, 92.94, 76.55, 93.36, 92.94, 90.69),
    "VGG-16": (68.42, 56.60, 90.62, 71.96, 83.96, 87.94, 88.39),
    "VGG-19": (69.45, 56.28, 90.57, 72.78, 83.00, 88.38, 87.31),
    "Xception": (80.00, 67.80, 92.34, 85.81, 90.79, 90.74, 93.34),
    "all + SVM": (78.56, 63.86, 93.57, 84.93, 92.38, 93.38, 91.72),
    "all + PCA + SVM": (74.49, 56.72, 90.50, 80.71, 91.82, 94.26, 89.77),
    "MoE-Stacking": (81.56, 73.13, 94.05, 87.01, 94.46, 93.97, 94.42),
    "MoE-Embedding": (81.62, 73.02, 94.60, 87.48, 94.90, 95.15, 94.21),
    "MoE-CNN(32)": (81.91, 73.01, 94.49, 87.26, 94.63, 95.00, 94.07),
    "MoE-CNN(64)": (81.85, 72.70, 94.44, 87.36, 94.82, 95.29, 94.32),
    "LE MoE-Embedding": (81.87, 73.11, 94.53, 87.34, 94.85, 94.85, 94.21),
    "LE MoE-CNN(32)": (81.85, 73.14, 94.60, 87.30, 94.90, 95.29, 94.18),
    "LE MoE-CNN(64)": (81.64, 73.28, 94.62, 87.36, 94.92, 95.15, 94.32),
}
# The nets of the paper, and what the names of our cards for them hold.
BACKBONES = {
    "Inception": "inception",
    "ResNet": "resnet50",
    "VGG-16": "vgg16",
    "VGG-19": "vgg19",
    "Xception": "xception",
}
# Which of the paper's columns a study stands beside, by the beginning of its name.
COLUMNS = {
    "flowers17": "F17",
    "flowers102": "F102",
    "caltech101": "C101",
    "caltech256": "C256",
    "cub": "CUB",
    "pets": "Pets",
    "actions": "Actions",
}
# The claims of the paper's section 5.2 that are differences between rows: its own rows, and our readings of them.
NETS = "best single net"
CLAIMS = {
    ("all + SVM", NETS): ("concat+raw+svm", NETS),
    ("all + PCA + SVM", "all + SVM"): ("concat+pca+svm", "concat+svm"),
    ("MoE-Stacking", NETS): ("stacking", NETS),
    ("MoE-Embedding", "MoE-Stacking"): ("mixture-embedding", "stacking"),
    ("MoE-CNN(32)", "MoE-Stacking"): ("mixture-cnn32", "stacking"),
    ("MoE-CNN(64)", "MoE-Stacking"): ("mixture-cnn64", "stacking"),
    ("LE MoE-Embedding", "MoE-Embedding"): ("mixture-embedding-le-glove-50d", "mixture-embedding"),
    ("LE MoE-CNN(32)", "MoE-CNN(32)"): ("mixture-cnn32-le-glove-50d", "mixture-cnn32"),
    ("LE MoE-CNN(64)", "MoE-CNN(64)"): ("mixture-cnn64-le-glove-50d", "mixture-cnn64"),
}


def main() -> None:
    arguments = parse()
    studies = [read_results(path) for path in arguments.studies]
    text = page(studies, arguments.remarks.read_text(encoding="utf-8") if arguments.remarks else "")
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(text, encoding="utf-8")
    print(text)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("studies", type=Path, nargs="+")
    parser.add_argument("--remarks", type=Path, help="Markdown to put below the tables.")
    parser.add_argument("-o", "--output", type=Path, required=True)
    return parser.parse_args()


def page(studies: list[dict], remarks: str) -> str:
    parts = [
        "# Table 2, the paper's figures and ours",
        f"Accuracy in %. The paper: {SOURCE}. Ours: means ± standard deviations over the splits of each study. A row "
        "of the paper stands several times where its text can be read in several ways.",
        head(studies),
        *(f"* **{cell(one['name'])}**: {about(one)}" for one in studies),
        "## What the paper claims, as differences",
        "In points; ours with their standard deviation over the splits. Whether a difference of ours is one is told by "
        "the paired tests of each study.",
        claims(studies),
    ]
    if remarks:
        parts.append(remarks.strip())
    parts += ["## Commands", "\n".join(f"* `{one['command']}`" for one in studies)]
    return "\n\n".join(parts) + "\n"


def head(studies: list[dict]) -> str:
    """The paper's rows, each with the methods that read it; then all other fusions."""
    titles = column_titles(studies)
    lines = ["| in the paper | here | " + " | ".join(titles) + " |", "|---|---" + "|---" * len(titles) + "|"]
    for row in PAPER:
        for position, name in enumerate(readings(studies, row) or [""]):
            cells = []
            for one in studies:
                if beside(one):
                    cells.append(f"{paper(row, one):.2f}" if position == 0 else "")
                cells.append(ours(one, name))
            lines.append(f"| {row if position == 0 else ''} | {cell(name)} | " + " | ".join(cells) + " |")
    for name in others(studies):
        cells = []
        for one in studies:
            cells += ([""] if beside(one) else []) + [ours(one, name)]
        lines.append(f"| | {cell(name)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def column_titles(studies: list[dict]) -> list[str]:
    """For each study the paper's column, where it has one, and ours."""
    titles = []
    for one in studies:
        titles += ([f"the paper's {beside(one)}"] if beside(one) else []) + [cell(one["name"])]
    return titles


def about(study: dict) -> str:
    text = f"{study['photos']:,} photos of {len(study['classes'])} classes, zoo {cell(study['zoo'])}"
    text += f", {study['folds']} folds × {study['seeds']} seeds, {study['seconds'] / 60:.0f} minutes"
    return text + "".join(f"; {cell(note)}" for note in study["notes"])


def claims(studies: list[dict]) -> str:
    titles = column_titles(studies)
    lines = ["| in the paper | here | " + " | ".join(titles) + " |", "|---" * (2 + len(titles)) + "|"]
    for (row, less), names in CLAIMS.items():
        cells = []
        for one in studies:
            if beside(one):
                best = max(paper(net, one) for net in BACKBONES)
                cells.append(f"{paper(row, one) - (best if less == NETS else paper(less, one)):+.2f}")
            cells.append(difference(one, *names))
        lines.append(f"| {row} − {less} | {' − '.join(map(cell, names))} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def difference(study: dict, name: str, less: str) -> str:
    """Ours, with its spread over the splits; the best net is the best on the mean over them."""
    nets = [accuracies(study, one) for net in BACKBONES for one in readings([study], net)]
    mine = accuracies(study, name)
    theirs = max(nets, key=np.mean, default=np.empty(0)) if less == NETS else accuracies(study, less)
    if not len(mine) or not len(theirs):
        return "–"
    return f"{(mine - theirs).mean():+.2f} ± {(mine - theirs).std():.2f}"


def readings(studies: list[dict], row: str) -> list[str]:
    """Our methods that read this row of the paper, in the order of the studies' methods."""
    if row in BACKBONES:
        chosen = [
            one["name"]
            for study in studies
            for one in study["methods"]
            if one["expert"] == "softmax" and BACKBONES[row] in one["backbone"]
        ]
    else:
        chosen = [one["name"] for study in studies for one in study["methods"] if one["paper"] == row]
    return list(dict.fromkeys(chosen))


def others(studies: list[dict]) -> list[str]:
    """Fusions, and the bound, that read no row of the paper."""
    chosen = [one["name"] for study in studies for one in study["methods"] if not one["paper"] and not one["backbone"]]
    return list(dict.fromkeys(chosen))


def beside(study: dict) -> str:
    return next((column for start, column in COLUMNS.items() if study["name"].startswith(start)), "")


def paper(row: str, study: dict) -> float:
    return PAPER[row][DATASETS.index(beside(study))]


def ours(study: dict, name: str) -> str:
    found = accuracies(study, name)
    return f"{found.mean():.2f} ± {found.std():.2f}" if len(found) else "–"


def accuracies(study: dict, name: str) -> np.ndarray:
    found = [one for one in study["methods"] if one["name"] == name]
    return 100 * np.array([split["accuracy"] for one in found for split in one["splits"]])


if __name__ == "__main__":
    main()
