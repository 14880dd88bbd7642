"""Read from files of word vectors those of some words only: the files hold hundreds of thousands."""

import json
import mmap
import re
from collections.abc import Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt

from manyeyes.errors import WordVectorError

WordVectors = dict[str, npt.NDArray[np.float32]]

_JSON_VECTOR = re.compile(rb'("(?:[^"\\]|\\.)*"):\[([^\[\]"]*)\]')


def read_glove_text(path: Path, wanted: Collection[str]) -> WordVectors:
    """From GloVe's own format: a line for each word, the word and its numbers parted by blanks.

    Raises WordVectorError for a file that cannot be read or has other lines.
    """
    found: WordVectors = {}
    dimension = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                word, _, numbers = line.rstrip().partition(b" ")
                if number == 1:
                    dimension = len(numbers.split())
                if (text := word.decode("utf-8", "replace")) in wanted:
                    vector = np.array(numbers.split(), np.float32)
                    if len(vector) != dimension or not np.isfinite(vector).all():
                        raise ValueError
                    found[text] = vector
    except OSError as error:
        raise WordVectorError(f"the word vectors {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise WordVectorError(f"line {number} of {path} is not a word and {dimension} numbers") from None
    return found


def read_array(folder: Path, wanted: Collection[str]) -> WordVectors:
    """From a folder with one array of all vectors (.npy) and one table of their words (.parquet)."""
    import pyarrow.parquet as pq

    (words,) = folder.glob("*.parquet")
    (numbers,) = folder.glob("*.npy")
    vectors = np.load(numbers, mmap_mode="r", allow_pickle=False)
    column = pq.read_table(words).column(0).to_pylist()
    return {word: np.array(vectors[row], np.float32) for row, word in enumerate(column) if word in wanted}


def read_wink(path: Path, wanted: Collection[str]) -> WordVectors:
    """From winkNLP's JSON: ``"word":[numbers]``, of which the last two are a norm and a row number."""
    found: WordVectors = {}
    # Parsed as a whole, the file would take gigabytes of memory.
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        start = text.find(b'"vectors"')
        for match in _JSON_VECTOR.finditer(text, max(start, 0)):
            if (word := json.loads(match[1])) in wanted:
                found[word] = np.array(match[2].split(b","), np.float32)[:-2]
    return found
