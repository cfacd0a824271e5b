"""Reads the tags in the cells of a table: which columns have them, one flag each or lists, and how lists are split."""

import json
import re
from collections.abc import Sequence

import numpy as np

from visiontasks.data.class_lists import in_order, listed_classes
from visiontasks.data.table import CLASS, Table, is_file_name, is_index, plain
from visiontasks.errors import DataError
from visiontasks.sample import UNLABELED

_FLAGS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1, "-1": UNLABELED, "-1.0": UNLABELED, "": UNLABELED}
_TAGS = ("tags", "tag", "labels", "classes", "categories", "attributes", "attributeids", "keywords")
# of columns that describe an image, and of which nobody trains a tagger
_LAST = {"class", "label", "labels", "tag", "tags", "category", "categories", "species"}  # Finding Labels
_SPLITS = {"split", "fold", "kfold", "subset", "partition", "istrain", "isval", "isvalid", "istest", "dataset", "set"}
_OTHER = {"width", "height", "imagewidth", "imageheight", "size", "url", "source", "md5", "date"}
_OTHER |= {"annotator", "annotationid", "createdat", "updatedat", "leadtime"}  # of Label Studio
_QUOTED = re.compile(r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)\"""")
_ENDS = {"[": "]", "(": ")", "{": "}"}
_MANY = 10  # numbers with fractions that may be classes, as in half stars
SPACE = "space"  # a separator's name, because a command drops a blank


class TagCells:
    """The tags of each row of a table.

    Args:
        table: the table.
        file: the number of its column of files.
        columns, flags, names, separator: as `visiontasks.data.sources.csv.Csv` has them.
        report: gets what was decided.

    Attributes:
        columns: the names of the columns that have the tags.
        names: the tags.
        rows: float32 (N, C), 1, 0, or -1 for not labeled.
        flags: whether each tag has a column.

    Raises:
        DataError: no such columns, or a cell that is no flag or has no name; the text names the line.
    """

    def __init__(self, table: Table, file: int, columns, flags, names, separator, report):
        self._table, self._report = table, report
        numbers, found_flags = self._find(file, columns)
        self.columns = [table.header[number] for number in numbers]
        self.flags = found_flags if flags is None else flags
        read = self._read_flags(numbers, names) if self.flags else self._read_lists(numbers, names, separator)
        self.names, self.rows = read

    def _find(self, file, columns) -> tuple[list[int], bool]:
        """The numbers of the columns with the tags, and whether each is a tag."""
        header, path = self._table.header, self._table.path
        if columns is not None:
            missing = [name for name in columns if name not in header]
            if missing or not columns:
                raise DataError(f"expected columns of {path} ({', '.join(header)}), got {missing}.", "columns")
            found = [header.index(name) for name in columns]
            single = len(found) == 1 and self._is_named(found[0])
            return found, not single and all(map(self._has_flags, found))
        index = [n for n in range(len(header)) if is_index(header[n]) or not any(self._table.column(n))]
        others = [n for n in range(len(header)) if n not in (file, *index)]
        if not others and len(header) == 2:  # no image has a tag
            others = [n for n in range(2) if n != file]
        others = [n for n in others if plain(header[n]) not in _SPLITS and not self._has_vectors(n)]
        if len(others) > 1:
            others = [n for n in others if plain(header[n]) not in _OTHER and not is_file_name(header[n])] or others
        flags = [number for number in others if self._has_flags(number)]
        named = [n for n in others if self._is_named(n) and (n not in flags or len(flags) == 1)]
        named.sort(key=lambda n: (*CLASS, *_TAGS).index(plain(header[n])))
        named = named or [n for n in others if n not in flags and _last_word(header[n]) in _LAST]
        if named:
            found = [self._names_beside(named[0], others)]
        elif flags and not self._table.bare:
            found = [n for n in others if n in flags or self._nearly_flags(n)]  # a wrong cell is an error
        elif len(others) == 1:
            found = others
        else:
            raise DataError(
                f"{path}: expected one column of labels beside {header[file]!r}, or columns of 0 and 1, got "
                f"{', '.join(header[n] for n in others) or 'none'}; name them with columns=[…].",
                "columns",
            )
        for number in range(len(header)):
            if number not in (file, *found, *index):
                self._report.noted(f"column that is not read (columns= names others), in {path}", header[number])
        return found, bool(flags) and not named and not self._table.bare

    def _names_beside(self, number, others) -> int:
        """The column of names that go one to one with the ids in a column; else that column."""
        ids = self._table.column(number)
        for other in (n for n in others if n != number and all(map(_is_id, ids))):
            names = self._table.column(other)
            single = len(set(zip(ids, names, strict=True))) == len(set(ids)) == len(set(names)) < len(ids)
            if single and len(set(ids)) > 1 and not any(map(_is_id, names)):
                return other
        return number

    def _is_named(self, number) -> bool:
        return plain(self._table.header[number]) in (*CLASS, *_TAGS)

    def _has_flags(self, number) -> bool:
        values = {cell.lower() for cell in set(self._table.column(number))}
        return values != {""} and values <= set(_FLAGS)

    def _has_vectors(self, number) -> bool:
        """Whether each cell is a list of as many 0 and 1, which does not say what they are of."""
        lists = (_listed(cell) if _is_list(cell) else [] for cell in self._table.column(number))
        first = next(lists)
        return (
            len(first) > 1
            and {*first} <= {"0", "1"}
            and all(len(one) == len(first) and {*one} <= {"0", "1"} for one in lists)
        )

    def _nearly_flags(self, number) -> bool:
        """Whether most cells are flags, and they are no numbers of something."""
        cells = [cell.lower() for cell in self._table.column(number) if cell]
        return len(set(cells)) < len(cells) and 2 * sum(cell in _FLAGS for cell in cells) > len(cells)

    def _read_flags(self, numbers, names):
        path, columns = self._table.path, self.columns
        names = tuple(columns) if names is None else tuple(map(str, names))
        missing = sorted(set(names) - set(columns))
        if (
            set(names).isdisjoint(columns) or missing and set(columns) - set(names)
        ):  # names of more sets have all columns
            raise DataError(
                f"{path}: expected columns of names, {', '.join(names)}, got {', '.join(columns)}.", "names"
            )
        for name in missing:
            self._report.noted("tag without a column, not labeled", name)
        for name in columns:
            if name not in names:
                self._report.noted("column of a tag that names lacks, not read", name)
        rows = np.full((len(self._table.rows), len(names)), UNLABELED, np.float32)
        for column, number in zip(columns, numbers, strict=True):
            if column in names:
                rows[:, names.index(column)] = self._flags_of(number, column)
        if (rows == UNLABELED).any() and (rows == 1).any() and not (rows == 0).any():
            self._report.noted("table of 1 and -1 without a 0: -1 is read as 0", str(path))
            blank = np.array([[not cells[n].strip() for n in numbers] for _, cells in self._table.rows])
            order = [columns.index(name) if name in columns else 0 for name in names]
            absent = [name in missing for name in names]
            rows = np.where((rows == UNLABELED) & ~blank[:, order] & ~np.array(absent), np.float32(0), rows)
        return names, rows

    def _flags_of(self, number, column) -> list[int]:
        cells = self._table.column(number)
        flags = {cell: _FLAGS.get(cell.lower()) for cell in set(cells)}
        if None in flags.values():
            row = next(row for row, cell in enumerate(cells) if flags[cell] is None)
            (line, _), cell = self._table.rows[row], cells[row]
            raise DataError(
                f"{self._table.path}, line {line}, column {column!r}: expected 0 or 1, True or False (-1 or empty: not "
                f"labeled), got {cell!r}. A column that is no tag is left out by columns=[the others]."
            )
        return [flags[cell] for cell in cells]

    def _read_lists(self, numbers, names, separator):
        path = self._table.path
        cells = [[cells[number].strip() for number in numbers] for _, cells in self._table.rows]
        split = self._splitter({cell for row in cells for cell in row if cell}, separator)
        lists = [[tag for cell in row for tag in split(cell)] for row in cells]
        used = {tag for tags in lists for tag in tags}
        listed = listed_classes(path, used, names, self._report)
        if used and used <= set(listed):  # ids instead of names
            lists = [[listed[tag] for tag in tags] for tags in lists]
            used = {listed[tag] for tag in used}
        if names is None and len(used) > max(_MANY, len(lists) // 2) and all(map(_is_id, used)) and _fractions(used):
            raise DataError(
                f"{path}: expected classes in the column {', '.join(self.columns)}, got {len(used)} numbers such as "
                f"{min(used)}; a number is no class, so round them to few, or give the classes with names=[…].",
                "columns",
            )
        if names is None:
            names = list(listed.values()) if used and used <= set(listed.values()) else in_order(used)
        names = tuple(map(str, names))
        if not names:
            column = ", ".join(self.columns)
            raise DataError(f"{path}: expected at least one tag in the column {column}, got none.")
        numbers = {name: number for number, name in enumerate(names)}
        rows = np.zeros((len(lists), len(names)), np.float32)
        for row, tags, (line, _) in zip(rows, lists, self._table.rows, strict=True):
            unknown = [tag for tag in tags if tag not in numbers]
            if unknown:
                raise DataError(
                    f"{path}, line {line}: expected tags among {', '.join(names)}, got {unknown[0]!r}.", "names"
                )
            row[[numbers[tag] for tag in tags]] = 1
        return names, rows

    def _splitter(self, cells: set[str], separator: str | None):
        """The function from a cell to its tags."""
        if separator is None and any(map(_is_list, cells)):
            return lambda cell: _listed(cell) if _is_list(cell) else [cell] if cell else []
        if separator is None:
            separator = next((s for s in ";|," if any(s in cell for cell in cells)), None)
            words = sorted(cell for cell in cells if len(cell.split()) > 1)
            if separator is None and words:
                if self._are_lists(cells):
                    self._report.noted("tags split at white space (separator=; keeps them whole), as in", words[0])
                    separator = SPACE
                else:
                    self._report.noted(
                        f"names of several words kept whole (separator={SPACE} splits them), as", words[0]
                    )
        if separator is None:
            return lambda cell: [cell] if cell else []
        separator = None if separator in (SPACE, " ") else separator  # str.split(None) splits at white space
        return lambda cell: [tag.strip() for tag in cell.split(separator) if tag.strip()]

    def _are_lists(self, cells: set[str]) -> bool:
        """Whether words in a cell are tags of their own, and not one name such as hot dog.

        Tags come in other combinations, too: a word that is in one cell alone speaks for a name. In a column of one
        class names share words (golden retriever), unless all words of a name are classes of their own.
        """
        several = [cell.split() for cell in cells if len(cell.split()) > 1]
        if any(all(word in cells for word in words) for words in several):
            return True
        if all(re.fullmatch(r"\d+", word) for words in several for word in words):
            return True
        words = [word for cell in cells for word in set(cell.split())]
        one_class = len(self.columns) == 1 and plain(self.columns[0]) in CLASS
        return len(set(words)) < len(words) and not one_class


def why_no_label(cells: TagCells, table: Table, file: int) -> str | None:
    """Why the images do not have exactly one tag each; None if they do."""
    rows = {}
    for (line, row), tags in zip(table.rows, cells.rows, strict=True):
        lines, present = rows.setdefault(row[file].strip(), ([], set()))
        lines.append(str(line))
        present |= set(np.flatnonzero(tags == 1).tolist())
    for name, (lines, present) in rows.items():
        if len(present) != 1:
            tags = ", ".join(cells.names[number] for number in sorted(present)) or "none"
            return (
                f"{table.path.name} has no single class for each image: {name} (line {', '.join(lines)}) has "
                f"{len(present)} in the column {', '.join(cells.columns)[:80]} ({tags}); "
                "recipe=tagging learns any number"
            )
    return None


def _is_id(cell: str) -> bool:
    return re.fullmatch(r"\d*(\.\d*)?", cell) is not None


def _fractions(cells: set[str]) -> bool:
    return any(cell.partition(".")[2].strip("0") for cell in cells)


def _last_word(name: str) -> str:
    return (re.findall(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+", name) or [""])[-1].lower()


def _is_list(cell: str) -> bool:
    return cell[:1] in _ENDS and cell[-1:] == _ENDS.get(cell[:1])


def _listed(cell: str) -> Sequence[str]:
    """The entries of a list as JSON, Python, NumPy (without commas) or PostgreSQL (without quotes) write it."""
    try:
        found = json.loads(cell)
        if isinstance(found, dict):  # Label Studio's {"choices": ["cat", "dog"]}
            found = found.get("choices", list(found))
    except (ValueError, TypeError, RecursionError):
        quoted = [one or other for one, other in _QUOTED.findall(cell)]
        found = [re.sub(r"\\(.)", r"\1", entry) for entry in quoted] or cell[1:-1].split("," if "," in cell else None)
    return [tag for entry in found if (tag := str(entry).strip())]
