"""YAML files that come with data: aliases that explode, and those that do not."""

import pytest

from visiontasks.data.yaml_file import read_yaml
from visiontasks.errors import DataError

TENFOLD = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))


def read(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    return read_yaml(tmp_path / "a.yaml", "names", "data")


@pytest.mark.parametrize(
    "text",
    [
        f"a0: &a0 [x]\n{TENFOLD}names: *a9\n",
        f"a0: &a0 {{x: 1}}\n{TENFOLD}names: *a9\n",
        "names: &n [a, *n]\n",
        f"text: &t {'x' * 30000}\nnames: [{', '.join(['*t'] * 100)}]\n",
    ],
    ids=["lists", "dicts", "itself", "texts"],
)
def test_item_88_aliases_that_explode(text, tmp_path):
    with pytest.raises(DataError, match=r"data: expected names of at most .*a\.yaml, whose aliases"):
        read(tmp_path, text)


def test_aliases_of_usual_length_are_read(tmp_path):
    assert read(tmp_path, "train: &t images/train\nval: *t\n") == {"train": "images/train", "val": "images/train"}
