"""Finds the tables of a folder's splits, and the folders of their images."""

import dataclasses
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from visiontasks.data.class_lists import lists_classes
from visiontasks.data.finding import SHOWN, Finder
from visiontasks.data.layout import TRAINING, VALIDATION, child, folders_in, split_folders
from visiontasks.data.listing import files_like
from visiontasks.data.table import Table, first_names, plain, read_rows
from visiontasks.errors import DataError

_SPLIT = ("split", "subset", "partition", "dataset", "set")  # columns
_SPELLINGS = dict.fromkeys(TRAINING, "train") | dict.fromkeys(("val", "valid", "validation"), "val")
_MOST = 20  # other folders in which tables are looked for, and tables in one
_FOLDERS = ("annotations", "labels", "csv")  # of tables, beside the one of images


class ImageFolders:
    """The folders in which a table's images may lie: its own, the data set's, one in these, or any depth."""

    def __init__(self, table: Path, root: Path):
        roots = list(dict.fromkeys((table.parent, root)))
        folders = [folder for base in roots for folder in (base, *folders_in(base))]
        self.finders, self.root = [Finder(folder) for folder in dict.fromkeys(folders)], Finder(roots[-1])
        self._known = {}

    def best(self, names: Sequence[str]) -> tuple[Path | None, int]:
        """(the folder that has most of the first names' images or None, how many)."""
        names = tuple(first_names(names))
        if names not in self._known:
            self._known[names] = self._best(names)
        return self._known[names]

    def _best(self, names):
        counts = [sum(map(finder.at_once, names)) for finder in self.finders]
        most = max(counts)
        if most < len(names) and (count := sum(map(self.root.has, names))) > most:
            return self.root.root, count
        return (self.finders[counts.index(most)].root, most) if most else (None, 0)


def none_below(table: Table, column: int, root: Path) -> str:
    """Why a table is not read: its images are missing."""
    names = first_names(table.column(column))
    shown = ", ".join(name[:80] for name in names[:SHOWN]) + ", …" * (len(names) > SHOWN)
    return f"{table.path.name} names images in its column {table.header[column]!r}, none of them below {root} ({shown})"


def split_column(table: Table) -> tuple[int, dict[str, str]] | None:
    """(the number of a column that says which split a row belongs to, {"train": its value, "val": …}), or None."""
    for number in _split_columns(table):
        values = {_split_word(value): value for value in reversed(table.column(number))}  # the first spelling
        found = {
            split: next((values[word] for word in words if word in values), None)
            for split, words in (("train", TRAINING), ("val", VALIDATION))
        }
        if None not in found.values():
            return number, found
    return None


def _split_columns(table: Table) -> list[int]:
    return [number for number, name in enumerate(table.header) if plain(name) in _SPLIT]


def _split_word(value: str) -> str:
    """What the spellings of one split in a column have in common: Train, TRAIN and training are train."""
    word = value.strip().lower()
    return _SPELLINGS.get(word, word)


def of_split(table: Table, split: str | None, report) -> Table:
    """The table of the rows of a split, which is a value of its column of splits in any spelling, without that column.

    Raises:
        DataError: there is no such column, or no such row.
    """
    if split is None:
        return table
    for number in _split_columns(table):
        values = table.column(number)
        of_spelling = {value: _split_word(value) == _split_word(split) for value in set(values)}
        if any(of_spelling.values()):
            break
    else:
        raise DataError(f"expected a value of a column split in {table.path}, got {split!r}.", "split")

    def without(cells):
        return [*cells[:number], *cells[number + 1 :]]

    kept = zip(table.rows, values, strict=True)
    rows = [(line, without(cells)) for (line, cells), value in kept if of_spelling[value]]
    report.noted(f"table of which {len(table.rows) - len(rows)} rows belong to other splits", str(table.path))
    return dataclasses.replace(table, header=without(table.header), rows=rows)


def recognize_tables(root: Path, read: Callable[[Path], tuple[dict, Collection[str], dict] | str | None]):
    """{split: arguments} of the tables in a folder, why there are none, or None if there is nothing like it.

    Args:
        root: the folder.
        read: (arguments, names of the columns of labels, values of `split_column` or {}) of a table; or why it is none;
            or None if it is nothing like it.
    """
    looked, reasons = {}, []

    def readable(path):
        looked[path] = result = read(path)
        reasons.extend([result] if isinstance(result, str) else [])
        return isinstance(result, tuple)

    tables = split_tables(root, readable)
    if not isinstance(tables, dict) or not tables:
        return tables or next(iter(reasons), None)
    train, val = tables["train"], tables.get("val")
    if val is None and looked[train][2]:
        return {split: {**looked[train][0], "split": value} for split, value in looked[train][2].items()}
    if val is not None and set(looked[train][1]).isdisjoint(looked[val][1]):
        looked[val] = f"{val.name} has no column of labels that {train.name} has, {', '.join(looked[train][1])[:80]}"
        del tables["val"]
    # a test set has no labels, but a validation set is not left out
    lost = [why for path, why in looked.items() if isinstance(why, str) and _words(path) & set(VALIDATION) - {"test"}]
    return lost[0] if lost and "val" not in tables else {split: looked[path][0] for split, path in tables.items()}


def split_tables(root: Path, readable: Callable[[Path], bool]) -> dict[str, Path] | str:
    """{"train": …, "val": …} of the tables in a folder ("val" only if it exists); {} without a training table.

    The tables can also lie in a folder of annotations, in those of the splits: train/_annotations.csv,
    valid/_annotations.csv; or in any other. Of several that may be the training set's, which they are.
    """
    tables = list(filter(readable, _tables_in(root)))
    folder = child(root, _FOLDERS)
    if not tables and folder is not None:
        tables = list(filter(readable, _tables_in(folder)))
    if not tables:
        folders = {split: folder for split, folder in split_folders(root).items() if folder != root}
        inside = {split: list(filter(readable, _tables_in(folder))) for split, folder in folders.items()}
        single = {split: tables[0] for split, tables in inside.items() if len(tables) == 1}
        if "train" in single:
            return single
        others = [one for one in folders_in(root) if one not in folders.values()][:_MOST]
        others = others if len(others) + len(folders) > 1 else []  # a single folder is entered
        tables = [table for one in others for table in filter(readable, _tables_in(one)[:_MOST])]
    unsplit = [table for table in tables if not _words(table) & {*TRAINING, *VALIDATION}]
    train = _of_split(tables, TRAINING) or unsplit or (tables if len(tables) == 1 else [])
    val = [table for table in _of_split(tables, VALIDATION) if table not in train]
    if len(train) > 1 or len(val) > 1:
        names = ", ".join(table.name for table in (train if len(train) > 1 else val))
        return f"several tables may be one set: {names}; name one with source=, path= and root="
    return {"train": train[0], **({"val": val[0]} if val else {})} if train else {}


def _of_split(tables: list[Path], split: tuple[str, ...]) -> list[Path]:
    """The tables of the first word that one has in its name; of several the one that is called so, if there is."""
    found = next((hits for word in split if (hits := [t for t in tables if word in _words(t)])), [])
    return next(([table] for table in found if table.stem.lower() in split), found)


def _words(table: Path) -> set[str]:
    """The words in a file's name: train_labels_v2, trainLabels and TRAIN-2 have train."""
    return {word.lower() for word in re.findall(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+", table.stem)}


def _tables_in(folder: Path) -> list[Path]:
    files = (p for p in sorted(folder.iterdir()) if p.suffix.lower() in (".csv", ".tsv") and p.is_file())
    files = (p for p in files if not p.name.startswith(".") and not lists_classes(p))
    return [p for p in files if "submission" not in _words(p)]


def tell_unlabeled(table: Table, labels: Collection[str], report):
    """Report the tables of a test set beside a table that lack its columns of labels."""
    for path in files_like(table.path.parent, "*.[ct]sv"):
        words = _words(path)
        if path == table.path or not words & {"test", "submission"}:
            continue
        try:
            rows, _ = read_rows(path, None)
        except DataError:
            rows = []
        columns = {cell.strip() for cell in (rows[0][1] if rows else ())}
        if "submission" in words or not columns & set(labels) and not table.bare:
            report.noted("table without labels beside, not used", str(path))
