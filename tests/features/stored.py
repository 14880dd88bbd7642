"""What a store holds after something happened to those who filled it, compared with the truth."""

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from child import Child

from manyeyes.backbones.backbone import Backbone
from manyeyes.features import pipeline, writer
from manyeyes.features.extract import Extraction, extract
from manyeyes.features.space import THUMBNAILS, Space, embedding_space
from manyeyes.features.store import FeatureStore
from manyeyes.features.table import FeatureTable

# Chunks begin at the same photos in every run, so that the batches, and thus the last bits, are the same.
CHUNK = 8


@contextmanager
def same_chunks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "CHUNK", CHUNK)
        patch.setattr(pipeline, "MOST", CHUNK)
        patch.setattr(writer, "PHOTOS", CHUNK)
        yield


def run(paths: list[str], backbones: list[Backbone], root: Path) -> Extraction:
    # Copies, so that those given have built no network.
    with same_chunks():
        return extract(paths, [copy.copy(backbone) for backbone in backbones], FeatureStore(root))


def wait_for_shards(root: Path, count: int, child: Child) -> None:
    while len(shards(root)) < count:
        assert child.process.is_alive()
        time.sleep(0.001)


def spaces(backbones: list[Backbone]) -> list[Space]:
    return [THUMBNAILS, *(embedding_space(backbone) for backbone in backbones)]


def shards(root: Path) -> list[Path]:
    return list(root.rglob("shard-*"))


def columns(table: FeatureTable, space: Space) -> dict[str, np.ndarray]:
    if space == THUMBNAILS:
        return {"pixels": table.thumbnails}
    top = table.source_labels.get(space.name)
    labels = {} if top is None else {"label_index": top.index, "label_probability": top.probability}
    return {"h": table.blocks[space.name], **labels}


def check_stored(root: Path, keys: list[str], backbones: list[Backbone], truth: FeatureTable) -> set[str]:
    """All that the store holds is true to the bit. Gives the photos that every space holds."""
    store, finished = FeatureStore(root), set(keys)
    for space in spaces(backbones):
        missing = set(store.missing(space, keys))
        held = [row for row, key in enumerate(keys) if key not in missing]
        if held:
            found = store.read(space, [keys[row] for row in held])
            expected = columns(truth, space)
            assert found.keys() == expected.keys()
            for name, values in found.items():
                np.testing.assert_array_equal(values, expected[name][held])
        finished -= missing
    assert not list(root.rglob("*.damaged"))
    return finished


def check_equal(found: FeatureTable, truth: FeatureTable, backbones: list[Backbone]) -> None:
    for space in spaces(backbones):
        expected = columns(truth, space)
        for name, values in columns(found, space).items():
            np.testing.assert_array_equal(values, expected[name])
