"""Labelled photos from a table: CSV, TSV or Parquet with the columns path and label, and if wanted split and group."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from manyeyes.errors import PhotoSourceError
from manyeyes.images.photo import readable
from manyeyes.images.photoset import PhotoSet, split_name
from manyeyes.places import is_url, join, read

_NEEDED = ("path", "label")
_OPTIONAL = ("split", "group")


def read_manifest(file: str) -> PhotoSet:
    """The photos that a manifest, at a path or URL, names, in its order; relative paths start from its folder.

    Values are text as written: ``01`` and ``NA`` are labels. Rows are counted as a spreadsheet shows them, so the
    first after a CSV file's header is row 2 (blank lines are not counted). Raises PhotoSourceError, also when a group
    lies in two splits.
    """
    table = _read(file, _NEEDED)
    first_row = _first_row(file)
    columns = {name: _text(table, name, readable(file), first_row) for name in table.column_names}
    kept, notes = _without_repeats(file, columns, first_row)

    def pick(name: str) -> tuple[str, ...] | None:
        return tuple(columns[name][index] for index in kept) if name in columns else None

    paths = tuple(_from_folder_of(file, columns["path"][index]) for index in kept)
    photos = PhotoSet(paths, pick("label") or (), pick("split"), pick("group"), notes)
    photos.check_groups()
    return photos


def manifest_paths(file: str) -> list[str]:
    """The paths that a manifest names, row for row; it needs no labels. Raises PhotoSourceError."""
    paths = _text(_read(file, ("path",)), "path", readable(file), _first_row(file))
    return [_from_folder_of(file, path) for path in paths]


def _first_row(file: str) -> int:
    return 1 if file.lower().endswith(".parquet") else 2


def _from_folder_of(file: str, path: str) -> str:
    """A manifest's path as it is opened: as written, unless it starts from the manifest's folder."""
    if is_url(path):
        return path
    if is_url(file):
        return path if path.startswith("/") else join(file.rpartition("/")[0], path)
    return os.path.join(Path(file).parent, path)  # noqa: PTH118 -- as written


def _read(file: str, needed: tuple[str, ...]) -> pa.Table:
    """The table with the columns that are known, as text or whatever a Parquet file holds."""
    where = readable(file)
    try:
        data = read(file) if is_url(file) else Path(file).read_bytes()
        table = (_read_parquet if file.lower().endswith(".parquet") else _read_text)(data, file, needed)
    except (pa.ArrowException, OSError) as error:
        raise PhotoSourceError(f"the manifest {where} cannot be read: {readable(str(error))}") from error
    if not table.num_rows:
        raise PhotoSourceError(f"the manifest {where} names no photos: add a row for each")
    return table


def _read_text(data: bytes, file: str, needed: tuple[str, ...]) -> pa.Table:
    delimiter = "\t" if file.lower().endswith(".tsv") else ","
    parse = csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    with csv.open_csv(pa.BufferReader(data), parse_options=parse) as reader:
        header = reader.schema.names
    chosen = _columns(header, file, needed)
    # Everything is text, or "01" would become 1 and "NA" nothing.
    convert = csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False)
    table = csv.read_csv(pa.BufferReader(data), csv.ReadOptions(use_threads=False), parse, convert)
    return table.select(list(chosen.values())).rename_columns(list(chosen))


def _read_parquet(data: bytes, file: str, needed: tuple[str, ...]) -> pa.Table:
    # Not read_table: that would take a folder called split=train for a column.
    with parquet.ParquetFile(pa.BufferReader(data)) as reader:
        chosen = _columns(reader.schema_arrow.names, file, needed)
        return reader.read(list(chosen.values())).select(list(chosen.values())).rename_columns(list(chosen))


def _columns(header: list[str], file: str, needed: tuple[str, ...]) -> dict[str, str]:
    """The names of the columns that are used, each with its spelling in this file."""
    where = readable(file)
    chosen: dict[str, str] = {}
    for spelling in header:
        name = spelling.strip().lower()
        if name in chosen:
            raise PhotoSourceError(f"the manifest {where} has two columns called {name}: keep one")
        if name in (*_NEEDED, *_OPTIONAL):
            chosen[name] = spelling
    for name in needed:
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


def _without_repeats(file: str, columns: dict[str, list[str]], first_row: int) -> tuple[list[int], tuple[str, ...]]:
    """The indices of each photo's first row, and a note on the others. Raises when two rows on a photo disagree."""
    where = readable(file)
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
