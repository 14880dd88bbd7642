"""The store in memory does what the one on a disk does."""

import numpy as np
import pytest

from manyeyes.errors import LackingError
from manyeyes.features.memory import MemoryStore
from manyeyes.features.space import THUMBNAILS, Space
from manyeyes.features.store import FeatureStore

ONE, OTHER = "01" * 32, "02" * 32


@pytest.mark.parametrize("make", [MemoryStore, FeatureStore])
def test_what_was_written_is_read(make):
    store, space = make(), Space("space", {})
    columns = {"h": np.arange(6, dtype=np.float32).reshape(2, 3), "label_index": np.array([7, 8], np.int16)}
    assert store.missing(space, [OTHER, ONE, OTHER]) == [OTHER, ONE]
    store.write(space, [ONE, OTHER], columns)
    assert store.missing(space, [ONE, OTHER]) == []
    assert store.missing(THUMBNAILS, [ONE]) == [ONE]
    found = store.read(space, [OTHER, ONE, OTHER])
    for name, values in columns.items():
        np.testing.assert_array_equal(found[name], values[[1, 0, 1]])
        assert found[name].dtype == values.dtype
    store.gather(space.folder)
    with pytest.raises(LackingError, match="1 of the photos"):
        store.read(space, [ONE, "03" * 32])
