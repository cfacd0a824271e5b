"""The covering arrays cover what they promise, with fewer rows than the product; new heads and families join."""

import families
import pytest
from covering import LEARNS, PAIRS, cover, covered, product, wanted

COLUMNS = {
    "head": ("a", "b", "c"),
    "family": ("f", "g", "h", "i"),
    "precision": ("32", "16"),
    "backend": ("x", "y"),
}


@pytest.mark.parametrize("pairs", [PAIRS, LEARNS], ids=["a pass", "a training"])
def test_every_pair_is_in_a_row(pairs):
    rows = cover(COLUMNS, pairs=pairs)
    found = [{column: values if column == "head" else [values] for column, values in row.items()} for row in rows]
    for columns in pairs:  # by loops that know nothing of `covered`
        for first in COLUMNS[columns[0]]:
            for second in COLUMNS[columns[-1]]:
                together = [row for row in found if first in row[columns[0]] and second in row[columns[-1]]]
                assert together or (len(columns) == 1 and first != second), (columns, first, second)
    assert len(rows) <= len(product(COLUMNS)) // 2


def test_the_dearest_combination_is_left_out_where_another_covers_as_much():
    def cost(row):
        return 100.0 if row["family"] == "i" and row["backend"] == "y" else 1.0

    assert not any(row["family"] == "i" and row["backend"] == "y" for row in cover(COLUMNS, cost))


@pytest.mark.parametrize("pairs", [PAIRS, LEARNS], ids=["a pass", "a training"])
def test_the_contracts_rows_hold_every_head_and_family_there_is(pairs):
    rows = families.array(pairs)
    everything = wanted(families.columns(pairs), pairs)
    assert set().union(*(covered(row, pairs) for row in rows)) == everything
    assert len(rows) < len(product(families.columns(pairs)))


def test_trainings_have_a_family_with_batch_norms_and_one_without():
    found = set(families.columns(LEARNS)["family"])
    assert found & set(families.NO_BATCH_NORM) and found - set(families.NO_BATCH_NORM)
