"""Keep a study among the results: its page and its figures, without the figure that shows photos, which are others'.

    python benchmarks/publish.py STUDY -o docs/results/NAME.md

The page holds the command that made the study. The figures lie in a folder beside it, as SVG.
"""

import argparse
import re
import shutil
from pathlib import Path

SHOWS_PHOTOS = "confused-pair"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    page = (arguments.study / "table.md").read_text(encoding="utf-8")
    sections = re.split(r"(?m)^(?=### )", page)
    kept = "".join(section for section in sections if f"{SHOWS_PHOTOS}.svg" not in section)
    folder = arguments.output.with_suffix("")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for figure in re.findall(r"\(figures/([^)]+\.svg)\)", kept):
        shutil.copy(arguments.study / "figures" / figure, folder / figure)
    shutil.copy(arguments.study / "results.json", folder)
    # What each method said of each photo is too much to keep.
    kept = kept.replace(", what each said of each photo in [answers.npz](answers.npz)", "")
    kept = kept.replace("(figures/", f"({folder.name}/").replace("(results.json)", f"({folder.name}/results.json)")
    arguments.output.write_text(kept, encoding="utf-8")


if __name__ == "__main__":
    main()
