"""Labelled photos from a table: CSV, TSV or Parquet with the columns path and label, and if wanted split and group."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from manyeyes.errors import PhotoSourceError
from manyeyes.images.photo import readable
from manyeyes.images.photoset import PhotoSet, split_name

_NEEDED = ("path", "label")
_OPTIONAL = ("split", "group")


def read_manifest(file: Path) -> PhotoSet:
    """The photos that a manifest names, in its order; relative paths start from its folder.

    Values are text as written: ``01`` and ``NA`` are labels. Rows are counted as a spreadsheet shows them, so the
    first after a CSV file's header is row 2 (blank lines are not counted). Raises PhotoSourceError, also when a group
    lies in two splits.
    """
    where = readable(str(file))
    try:
        table = _read_parquet(file) if file.suffix.lower() == ".parquet" else _read_text(file)
    except (pa.ArrowException, OSError) as error:
        raise PhotoSourceError(f"the manifest {where} cannot be read: {readable(str(error))}") from error
    if not table.num_rows:
        raise PhotoSourceError(f"the manifest {where} names no photos: add a row for each")
    first_row = 1 if file.suffix.lower() == ".parquet" else 2
    columns = {name: _text(table, name, where, first_row) for name in table.column_names}
    kept, notes = _without_repeats(file, columns, first_row)

    def pick(name: str) -> tuple[str, ...] | None:
        return tuple(columns[name][index] for index in kept) if name in columns else None

    paths = tuple(os.path.join(file.parent, columns["path"][index]) for index in kept)  # noqa: PTH118 -- as written
    photos = PhotoSet(paths, pick("label") or (), pick("split"), pick("group"), notes)
    photos.check_groups()
    return photos


def _read_text(file: Path) -> pa.Table:
    parse = csv.ParseOptions(delimiter="\t" if file.suffix.lower() == ".tsv" else ",", newlines_in_values=True)
    with csv.open_csv(file, parse_options=parse) as reader:
        header = reader.schema.names
    chosen = _columns(header, file)
    # Everything is text, or "01" would become 1 and "NA" nothing.
    convert = csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False)
    table = csv.read_csv(file, csv.ReadOptions(use_threads=False), parse, convert)
    return table.select(list(chosen.values())).rename_columns(list(chosen))


def _read_parquet(file: Path) -> pa.Table:
    # Not read_table: that would take a folder called split=train for a column.
    with parquet.ParquetFile(file) as reader:
        chosen = _columns(reader.schema_arrow.names, file)
        return reader.read(list(chosen.values())).select(list(chosen.values())).rename_columns(list(chosen))


def _columns(header: list[str], file: Path) -> dict[str, str]:
    """The names of the columns that are used, each with its spelling in this file."""
    where = readable(str(file))
    chosen: dict[str, str] = {}
    for spelling in header:
        name = spelling.strip().lower()
        if name in chosen:
            raise PhotoSourceError(f"the manifest {where} has two columns called {name}: keep one")
        if name in (*_NEEDED, *_OPTIONAL):
            chosen[name] = spelling
    for name in _NEEDED:
        if name not in chosen:
            found = readable(", ".join(header))
            raise PhotoSourceError(f"the manifest {where} has no column {name}: its columns are {found}")
    return chosen


def _text(table: pa.Table, name: str, where: str, first_row: int) -> list[str]:
    """A column as text. Raises PhotoSourceError at the first empty value."""
    try:
        column = pc.cast(table[name], pa.string())
    except pa.ArrowException as error:
        raise PhotoSourceError(f"the column {name} of {where} is not text but {table[name].type}") from error
    values: list[str] = []
    for row, value in enumerate(column.to_pylist(), first_row):
        if value is None or not value.strip():
            raise PhotoSourceError(f"row {row} of {where} has an empty {name}: fill it in, or remove the row")
        # A blank after the comma would make a second class of the same name; in a path it may be meant.
        values.append(value if name == "path" else value.strip())
    return [split_name(value) for value in values] if name == "split" else values


def _without_repeats(file: Path, columns: dict[str, list[str]], first_row: int) -> tuple[list[int], tuple[str, ...]]:
    """The indices of each photo's first row, and a note on the others. Raises when two rows on a photo disagree."""
    where = readable(str(file))
    first: dict[str, int] = {}
    kept: list[int] = []
    for index, path in enumerate(columns["path"]):
        earlier = first.setdefault(os.path.normpath(path), index)
        if earlier == index:
            kept.append(index)
        for name in columns.keys() - {"path"}:
            here, there = columns[name][index], columns[name][earlier]
            if here != there:
                raise PhotoSourceError(
                    f"rows {earlier + first_row} and {index + first_row} of {where} give {readable(path)} "
                    f"two different values of {name}, {there!r} and {here!r}: keep one of them"
                )
    repeats = len(columns["path"]) - len(kept)
    return kept, (f"{where}: {repeats} rows repeat an earlier one and are left out",) if repeats else ()
