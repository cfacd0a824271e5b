"""A covering array: few rows in which every pair of values of chosen columns occurs; what the contracts run.

`python tests/covering.py` prints it.
"""

import importlib.util
import itertools
from collections.abc import Sequence

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
# xla: TensorFlow with jit_compile
BACKENDS = ("tensorflow", "xla", *(name for name in ("jax", "torch") if importlib.util.find_spec(name)))
# pairs of columns of which every combination must occur
PAIRS = (
    ("head", "family"),
    ("head", "precision"),
    ("family", "precision"),
    ("head", "backend"),
    ("backend", "precision"),
)


def pairs_of(row: dict, pairs=PAIRS) -> set:
    """What a row covers: {(column, value, column, value)}. A value may be a tuple of several, as the heads are."""

    def values(column):
        value = row[column]
        return value if isinstance(value, tuple) else (value,)

    return {(a, x, b, y) for a, b in pairs for x in values(a) for y in values(b)}


def every_pair(columns: dict[str, Sequence], pairs=PAIRS) -> set:
    """What an array must cover."""
    return {(a, x, b, y) for a, b in pairs for x in columns[a] for y in columns[b]}


def product(columns: dict[str, Sequence]) -> list[dict]:
    """Every combination; heads, which train jointly on one network, stay together in one row."""
    single = [column for column in columns if column != "head"]
    combinations = itertools.product(*(columns[column] for column in single))
    return [{"head": tuple(columns["head"]), **dict(zip(single, values, strict=True))} for values in combinations]


def cover(columns: dict[str, Sequence], cost=lambda row: 1.0, pairs=PAIRS) -> list[dict]:
    """Rows that together cover every pair: greedily the row that covers most of what is missing for its cost.

    Args:
        columns: {column: its values}, among them `head`, of which a row has any number.
        cost: what a candidate row costs; of equal gain the cheaper one is taken, of equal cost the first.
        pairs: the pairs of columns.

    Returns:
        [{column: value}], `head` a tuple of those heads that the row adds a missing pair for.
    """
    missing, rows, candidates = every_pair(columns, pairs), [], product(columns)
    while missing:
        row = max(candidates, key=lambda row: len(pairs_of(row, pairs) & missing) / cost(row))
        # heads that cover nothing new here train elsewhere
        new = pairs_of(row, pairs) & missing
        needed = {x for a, x, b, y in new if a == "head"} | {y for a, x, b, y in new if b == "head"}
        turn = row["head"][len(rows) % len(row["head"])]  # where no head is needed, each in its turn
        row = {**row, "head": tuple(head for head in row["head"] if head in needed) or (turn,)}
        rows.append(row)
        missing -= pairs_of(row, pairs)
    return rows
