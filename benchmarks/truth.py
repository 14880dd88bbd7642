"""What extraction gives when nothing happens to it, for :mod:`faults`, and what was seen when something did."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from manyeyes.backbones.backbone import Backbone
from manyeyes.backbones.card import Card, Preprocessing
from manyeyes.backbones.nets import FINAL, SECOND_ORDER
from manyeyes.backbones.timm_import import timm
from manyeyes.backbones.zoo import read_zoo
from manyeyes.features.extract import extract
from manyeyes.features.space import THUMBNAILS, Space, embedding_space
from manyeyes.features.store import FeatureStore
from manyeyes.features.table import FeatureTable, block_name

# How far a number may lie from the truth, in deviations of its column: batches of another size round otherwise.
TOLERANCE = {"fp32": 1e-2, "bf16": 0.2}
# Source labels whose probabilities lie so near to each other may change places.
TIE = {"fp32": 1e-4, "bf16": 1e-2}


@dataclass
class Tally:
    """What was seen in the rounds of one kind. A row is one photo in one space."""

    rounds: int = 0
    kills: int = 0
    kills_with_new_rows: int = 0
    kills_in_a_write: int = 0
    rows_checked: int = 0
    wrong_rows: int = 0
    rows_not_equal_to_the_bit: int = 0
    finished_rows_lost: int = 0
    unexpected_errors: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def note_error(self, said: str, is_expected: bool) -> None:
        """An error that the user is meant to see has one line."""
        self.errors[said] = self.errors.get(said, 0) + 1
        self.unexpected_errors += not is_expected or "\n" in said

    @property
    def is_good(self) -> bool:
        return not (self.wrong_rows or self.finished_rows_lost or self.unexpected_errors)


@dataclass(frozen=True)
class Setting:
    """Who looks at what."""

    paths: list[str]
    zoo: str
    precision: str

    def backbones(self) -> list[Backbone]:
        """With their networks built, so that looking begins at once."""
        taps = (FINAL, SECOND_ORDER)
        backbones = [Backbone.load(card, True, taps, self.precision) for card in read_zoo(self.zoo)]
        for backbone in backbones:
            _ = backbone.encoder
        return backbones


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
            elif name == "label_index":
                is_wrong |= swapped(values, expected, found["label_probability"], TIE[self.setting.precision])
            else:
                is_wrong |= (values != expected).any(axis=axes)
        tally.rows_checked += len(rows)
        tally.wrong_rows += int(is_wrong.sum())
        tally.rows_not_equal_to_the_bit += int((~is_exact).sum())


def swapped(labels: np.ndarray, expected: np.ndarray, probability: np.ndarray, tie: float) -> np.ndarray:
    """For each row whether a label stands in another place, and not because its neighbour is as probable."""
    gaps = np.abs(np.diff(probability, axis=1))
    before = np.pad(gaps, ((0, 0), (1, 0)), constant_values=np.inf)
    after = np.pad(gaps, ((0, 0), (0, 1)), constant_values=0)  # the last one's neighbour is not kept
    result: np.ndarray = ((labels != expected) & (np.minimum(before, after) > tie)).any(axis=1)
    return result


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
