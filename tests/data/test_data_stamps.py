"""Which files of a data set have changed."""

import os

import pytest

from visiontasks.data.layout import RESULTS
from visiontasks.data.stamps import changes, read_stamps, stamps, write_stamps
from visiontasks.errors import UserError


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "photos"
    for name in ("a/1.jpg", "a/2.jpg", "b/größe.txt", "runs/metrics.csv"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (root / "runs" / RESULTS).touch()  # results in the folder of the data change all the time
    return root


def recipe(root):
    return [
        {"source": "class_folders", "path": str(root)},
        [{"source": "coco", "labels": str(root / "a" / "1.jpg")}],
        None,
    ]


def test_all_files_of_a_recipes_sources_count_but_no_results(folder, tmp_path):
    found = stamps(recipe(folder), contents=True)
    assert sorted(os.path.basename(path) for path in found) == ["1.jpg", "2.jpg", "größe.txt"]
    write_stamps(tmp_path / "data.json", found, {"label": ["a", "b"]})
    again, names = read_stamps(tmp_path / "data.json")
    (folder / "Thumbs.db").touch()  # Windows's, of somebody who looked at the folder
    assert changes(again, stamps(recipe(folder))) == "" and names == {"label": ["a", "b"]}
    assert stamps([{"source": "shapes", "count": 3}, "x" * 5000]) == {}


def test_what_has_changed_is_named(folder):
    before = stamps(recipe(folder), contents=True)
    (folder / "a" / "1.jpg").unlink()
    (folder / "a" / "2.jpg").write_text("longer than it was")
    for n in range(5):
        (folder / f"new{n}.jpg").touch()
    text = changes(before, stamps([{"path": str(folder)}]))
    assert "1.jpg is missing" in text and "2.jpg has changed" in text
    assert "new0.jpg" in text and "and 2 others are new" in text and "new4" not in text


def test_where_only_the_time_differs_the_contents_decide(folder):
    path = folder / "a" / "1.jpg"
    before = stamps(recipe(folder), contents=True)
    os.utime(path, (1, 1))  # copied, or checked out anew
    assert changes(before, stamps(recipe(folder))) == ""
    path.write_text("b/1.jpg")  # as long
    assert "1.jpg has changed" in changes(before, stamps(recipe(folder)))
    os.utime(path, ns=(before[str(path)][1],) * 2)  # and as old
    assert changes(before, stamps(recipe(folder))) == ""
    assert "1.jpg has changed" in changes(before, stamps(recipe(folder), contents=True))


def test_a_damaged_file_of_stamps_is_one_error(tmp_path):
    for content in ("", "{", '{"files": {}}', "[]"):
        (tmp_path / "data.json").write_text(content)
        with pytest.raises(UserError, match=r"resume: .*data.json cannot be read"):
            read_stamps(tmp_path / "data.json")
    with pytest.raises(UserError, match="cannot be read"):
        read_stamps(tmp_path / "none.json")
