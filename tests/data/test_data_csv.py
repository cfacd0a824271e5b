"""Tables of tags."""

import numpy as np
import pytest

from visiontasks.data.images import write_image
from visiontasks.data.sources.csv import Csv
from visiontasks.errors import DataError


@pytest.fixture
def root(tmp_path):
    for name in ("a.jpg", "b.jpg", "c.jpg", "größe.jpg"):
        write_image(tmp_path / name, np.zeros((5, 6, 3), np.uint8))
    return tmp_path


def table(root, text, encoding="utf-8", **arguments):
    path = root / "tags.csv"
    path.write_bytes(text.encode(encoding))
    return Csv(str(path), **arguments)


def tags_of(source):
    return {source[i].id: source[i].tags.tolist() for i in range(len(source))}


EXPECTED = {"a.jpg": [1, 1], "b.jpg": [0, 1], "c.jpg": [0, 0]}


@pytest.mark.parametrize(
    "text",
    [
        "path,tags\na.jpg,cat;dog\nb.jpg,dog\nc.jpg,\n",
        "path,tags\na.jpg,cat|dog\nb.jpg,dog\nc.jpg,\n",
        "path,tags\na.jpg,cat dog\nb.jpg,dog\nc.jpg,\n",
        'path,tags\na.jpg,"cat, dog"\nb.jpg,dog\nc.jpg,\n',
        "path\ttags\na.jpg\tcat,dog\nb.jpg\tdog\nc.jpg\t\n",
        "path;tags\na.jpg;cat|dog\nb.jpg;dog\nc.jpg;\n",
        "path,cat,dog\na.jpg,1,1\nb.jpg,0,1\nc.jpg,0,0\n",
        "path;cat;dog\na.jpg;1;1.0\nb.jpg;0.0;1\nc.jpg;0;0\n",
        "path,tags\r\na.jpg,cat;dog\r\n\r\nb.jpg, dog \r\nc.jpg\r\n",
    ],
    ids=["semicolon", "bar", "space", "quoted", "tab", "item 54 delimiter", "flags", "floats", "item 55 bare row"],
)
def test_forms_of_a_table(root, text):
    source = table(root, text)
    assert source.names == {"tags": ("cat", "dog")} and source.fields == {"tags"}
    assert tags_of(source) == EXPECTED
    assert source[0].tags.dtype == np.float32 and source.describe(1) == str(root / "b.jpg")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_item_54_encodings_and_byte_order_marks(root, encoding):
    source = table(root, "path,tags\ngröße.jpg,Bär;dog\nb.jpg,dog\n", encoding)
    assert source.names["tags"] == ("Bär", "dog")
    assert tags_of(source) == {"größe.jpg": [1, 1], "b.jpg": [0, 1]}


def test_item_55_no_tags_is_a_zero_row_and_not_unlabeled(root):
    source = table(root, "path,tags\na.jpg,cat\nb.jpg,\n")
    assert len(source) == 2 and source[1].tags.tolist() == [0]


def test_minus_one_and_empty_flags_are_not_labeled(root):
    assert tags_of(table(root, "path,x,y\na.jpg,-1,1\nb.jpg,,0\n")) == {"a.jpg": [-1, 1], "b.jpg": [-1, 0]}


def test_tags_of_several_words(root):
    text = "path,tags\na.jpg,traffic light\nb.jpg,car\n"
    assert table(root, text, separator=";").names["tags"] == ("car", "traffic light")


@pytest.mark.parametrize("text", ["p,tags\na.jpg,cat;dog\nb.jpg,dog\n", "p,cat,dog\na.jpg,1,1\nb.jpg,0,1\n"])
def test_names_fix_the_order(root, text):
    source = table(root, text, names=["dog", "cat"])
    assert tags_of(source) == {"a.jpg": [1, 1], "b.jpg": [1, 0]}
    with pytest.raises(DataError, match="columns of names, emu, got cat|line 2: expected tags among emu, got '"):
        table(root, text, names=["emu"])


def test_a_tag_without_a_column_is_not_labeled(root):
    """Of several data sets one may lack a tag; a tag that is missing where a column is unused is misspelled."""
    text = "p,cat,dog\na.jpg,1,1\nb.jpg,0,1\n"
    source = table(root, text, names=["emu", "dog", "cat"])
    assert tags_of(source) == {"a.jpg": [-1, 1, 1], "b.jpg": [-1, 1, 0]}
    assert source.report.count("tag without a column, not labeled") == 1
    with pytest.raises(DataError, match="columns of names, emu, dog, got cat, dog"):
        table(root, text, names=["emu", "dog"])


def test_item_20_missing_images_are_skipped_and_counted(root):
    source = table(root, "path,tags\na.jpg,cat\ngone.jpg,dog\n")
    assert len(source) == 1 and source.report.count("image missing, skipped") == 1
    with pytest.raises(DataError, match=r"^root: .*none of the 1 that it names in .*gone\.jpg.; give the folder"):
        table(root, "path,tags\ngone.jpg,dog\n")


def test_suffix_may_be_left_out(root):
    assert list(tags_of(table(root, "id,tags\na,cat\nb,dog\n"))) == ["a.jpg", "b.jpg"]


def test_root_is_an_argument(root):
    (root / "tables").mkdir()
    path = root / "tables/t.csv"
    path.write_text("path,tags\na.jpg,cat\n")
    assert Csv(str(path), root=str(root))[0].id == "a.jpg"


def test_item_77_a_name_that_leads_out(root):
    with pytest.raises(DataError, match=r"tags\.csv, line 3: \.\./x\.jpg: expected a file in"):
        table(root, "path,tags\na.jpg,cat\n../x.jpg,dog\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a first row that names at least two columns"),
        ("path,tags\n", "got 1 rows"),
        ("path\na.jpg\n", "expected a first row that names at least two columns"),
        ("a.jpg,1,0\nb.jpg,0,1\n", "expected one column of labels beside 'column 1', or .* got column 2, column 3"),
        ("path,x,y\na.jpg,1,1\nb.jpg,1,0\nc.jpg,1,1\nd.jpg,0,2\n", r"line 5, column 'y': expected 0 or 1, .*got '2'"),
        ("path,x,y\na.jpg,1,0\n\nb.jpg,1\n", "line 4: expected 3 columns as in the first row, got 2"),
        ("path,tags\na.jpg,\n", "expected at least one tag"),
    ],
)
def test_wrong_tables_name_the_line(root, text, message):
    with pytest.raises(DataError, match=message):
        table(root, text)


def test_missing_table(tmp_path):
    with pytest.raises(DataError, match="path: expected a text table"):
        Csv(str(tmp_path / "gone.csv"))
