"""A covering array: few rows in which every pair of values of chosen columns occurs; what the contracts run.

`python tests/covering.py` prints it.
"""

import importlib.util
import itertools
from collections.abc import Sequence

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
# xla: TensorFlow with jit_compile
BACKENDS = ("tensorflow", "xla", *(name for name in ("jax", "torch") if importlib.util.find_spec(name)))
# what must occur together at least once in a pass forward and back, compared with float64. What a head makes of a
# family's levels does not depend on rounding: test_contracts_families.py has every head on every one of them
PAIRS = (
    ("head", "precision"),
    ("family", "precision"),
    ("head", "backend"),
    ("backend", "precision"),
)
# a training, whose steps are such passes: small families learn, with batch norms and without, every head does, and in
# one precision as in another, for a step in it differs by rounding. The passes have the other families' gradients, and
# test_backbones_contract.py sees that each of their weights takes one
LEARNS = (("family",), ("head",), ("backend", "precision"))


def covered(row: dict, pairs=PAIRS) -> set:
    """What a row covers: {((column, value), …)}. A value may be a tuple of several, as the heads are."""

    def values(column):
        value = row[column]
        return [(column, one) for one in (value if isinstance(value, tuple) else (value,))]

    return {found for columns in pairs for found in itertools.product(*map(values, columns))}


def wanted(columns: dict[str, Sequence], pairs=PAIRS) -> set:
    """What an array must cover."""
    return covered({column: tuple(values) for column, values in columns.items()}, pairs)


def product(columns: dict[str, Sequence]) -> list[dict]:
    """Every combination; heads, which train jointly on one network, stay together in one row."""
    single = [column for column in columns if column != "head"]
    combinations = itertools.product(*(columns[column] for column in single))
    return [{"head": tuple(columns["head"]), **dict(zip(single, values, strict=True))} for values in combinations]


def in_turn(row: dict, number: int):
    """One of a row's heads, for a row that needs none."""
    return row["head"][number % len(row["head"])]


def cover(columns: dict[str, Sequence], cost=lambda row: 1.0, pairs=PAIRS, spare=in_turn) -> list[dict]:
    """Rows that together cover every pair: greedily the one that covers most of what is missing for its cost.

    Args:
        columns: {column: its values}, among them `head`, of which a row has any number.
        cost: what a row costs; of equal gain for its cost the first of `product` is taken.
        pairs: the pairs of columns.
        spare: the head, given a row and its number, if it adds something for none.

    Returns:
        [{column: value}], `head` a tuple of those heads that the row adds something for, or else of the spare one.
    """
    missing, rows = wanted(columns, pairs), []

    def trimmed(row):
        heads = {one for pair in covered(row, pairs) & missing for column, one in pair if column == "head"}
        return {**row, "head": tuple(head for head in row["head"] if head in heads) or (spare(row, len(rows)),)}

    candidates = product(columns)
    while missing:
        row = max(map(trimmed, candidates), key=lambda row: len(covered(row, pairs) & missing) / cost(row))
        rows.append(row)
        missing -= covered(row, pairs)
    return rows


if __name__ == "__main__":
    import families

    for title, pairs in (("a pass", PAIRS), ("a training", LEARNS)):
        print(f"\n{title}:")
        for row in families.array(pairs):
            print(f"  {row['family']:20}{row['precision']:16}{row['backend']:12}{', '.join(row['head'])}")
