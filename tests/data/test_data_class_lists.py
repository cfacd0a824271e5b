"""Lists of classes beside tables."""

import json

import numpy as np
import pytest

from visiontasks.data.class_lists import in_order
from visiontasks.data.detect import detect
from visiontasks.data.images import write_image
from visiontasks.data.load import load_sources
from visiontasks.data.sources.csv import Csv
from visiontasks.errors import DataError

NAMED = "class ids, named by the list of classes beside them"
UNFIT = "list of classes that does not give each class id one name of its own, not used"


def table(root, text="image_id,label\n0.jpg,0\n1.jpg,1\n2.jpg,1\n3.jpg,0\n", name="train.csv"):
    for number in range(4):
        write_image(root / f"{number}.jpg", np.full((5, 6, 3), number, np.uint8))
    (root / name).write_text(text)
    return root / name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("label_num_to_disease_map.json", '{"0": "blight", "1": "rust"}'),
        ("class_indices.json", '{"blight": 0, "rust": 1}'),
        ("class_names.json", '["blight", "rust"]'),
        ("categories.json", '[{"id": 1, "name": "rust", "color": "red"}, {"id": 0, "name": "blight"}]'),
        ("label_map.json", '{"label_map": {"1": "rust", "0": "blight"}}'),
        ("labels.csv", "attribute_id,attribute_name\n0,blight\n1,rust\n"),
        ("classes.csv", "id,name\n1,rust\n0,blight\n"),
        ("class_names.csv", "0,blight\n1,rust\n"),
        ("species.csv", "code,latin,common name\n0,x,blight\n1,y,rust\n"),
    ],
)
def test_ids_become_names(tmp_path, name, text):
    table(tmp_path)
    (tmp_path / name).write_text(text)
    splits, said = detect(tmp_path, ["label"])
    assert splits["train"]["path"] == str(tmp_path / "train.csv") and "read as csv" in said
    source = Csv(**{key: value for key, value in splits["train"].items() if key != "source"})
    assert source.names["label"] == ("blight", "rust")
    assert [source[number].label for number in range(4)] == [0, 1, 1, 0]
    assert (NAMED, [str(tmp_path / name)], False) in source.report.items()


def test_lists_of_ids_in_a_cell(tmp_path):
    path = table(tmp_path, "id,attribute_ids\n0,5 16\n1,16\n2,7\n3,5 7\n")
    (tmp_path / "labels.csv").write_text("attribute_id,attribute_name\n16,tag::men\n5,culture::greek\n7,tag::cat\n")
    source = Csv(str(path))
    assert source.names["tags"] == ("culture::greek", "tag::cat", "tag::men")
    assert source[0].tags.tolist() == [1, 0, 1]


def test_a_validation_table_has_the_same_names(tmp_path):
    table(tmp_path, "file,label\n0.jpg,0\n1.jpg,1\n2.jpg,2\n")
    table(tmp_path, "file,label\n3.jpg,2\n", "val.csv")
    (tmp_path / "label_map.json").write_text(json.dumps({"0": "a", "1": "b", "2": "c"}))
    train, val = load_sources(tmp_path, ("label",), 0.5, 0)
    assert train.names == val.names == {name: ("a", "b", "c") for name in ("label", "tags")}
    assert val[0].label == 2


def test_names_that_are_given_may_be_the_ids(tmp_path):
    path = table(tmp_path)
    (tmp_path / "label_map.json").write_text('{"0": "blight", "1": "rust"}')
    assert Csv(str(path), names=["1", "0"]).names["label"] == ("1", "0")
    assert Csv(str(path), names=["rust", "blight"])[0].label == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("label_map.json", '{"0": "blight"}'),
        ("label_map.json", '{"0": "blight", "1": "blight"}'),
        ("label_map.json", '{"blight": 0, "rust": 0}'),
        ("labels.csv", "id,name\n0,blight\n0,rust\n1,rot\n"),
    ],
)
def test_a_list_that_does_not_name_each_id_is_said_and_not_used(tmp_path, name, text):
    path = table(tmp_path)
    (tmp_path / name).write_text(text)
    source = Csv(str(path))
    assert source.names["label"] == ("0", "1") and source.report.items() == [(UNFIT, [str(tmp_path / name)], False)]


def test_names_alone_are_counted_from_0_or_from_1_and_not_if_that_is_open(tmp_path):
    (tmp_path / "class_names.json").write_text('["a", "b", "c"]')
    assert Csv(str(table(tmp_path, "file,label\n0.jpg,3\n1.jpg,1\n"))).names["label"] == ("a", "b", "c")
    source = Csv(str(table(tmp_path, "file,label\n0.jpg,2\n1.jpg,1\n")))
    assert source.names["label"] == ("1", "2") and source.report.count(UNFIT) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("class_config.json", '{"size": 3, "model": {"depth": 2}}'),
        ("class_broken.json", "{"),
        ("label_stats.csv", "id,count\n0,10\n1,20\n"),
        ("old_labels.csv", "id,label\n0,cat\n1,dog\n2,dog\n3,dog\n"),
    ],
)
def test_other_files_are_no_lists(tmp_path, name, text):
    path = table(tmp_path)
    (tmp_path / name).write_text(text)
    source = Csv(str(path))
    assert source.names["label"] == ("0", "1") and not source.report


def test_names_in_the_table_need_no_list(tmp_path):
    path = table(tmp_path, "file,label\n0.jpg,b\n1.jpg,a\n")
    (tmp_path / "label_map.json").write_text('{"0": "b", "1": "a"}')
    source = Csv(str(path))
    assert source.names["label"] == ("a", "b") and not source.report


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "blight\nrust\n"),
        ("labels.txt", "0 blight\n1 rust\n"),
        ("class_names.txt", "1: rust\n0: blight\n"),
        ("classes.txt", "blight,0\nrust,1\n"),
        ("class_names.csv", "blight\nrust\n"),
        ("names.csv", "name\nblight\nrust\n"),
    ],
)
def test_text_and_a_single_column_name_ids(tmp_path, name, text):
    path = table(tmp_path)
    (tmp_path / name).write_text(text)
    source = Csv(str(path))
    assert source.names["label"] == ("blight", "rust") and source.report.count(NAMED) == 1
    assert [source[number].label for number in range(4)] == [0, 1, 1, 0]


@pytest.mark.parametrize("text", ["0.jpg 0\n1.jpg 1\n", "0\n1\n", "0.jpg\n1.jpg\n"])
def test_text_of_images_or_ids_is_no_list(tmp_path, text):
    path = table(tmp_path)
    (tmp_path / "labels.txt").write_text(text)
    (tmp_path / "names.csv").write_text(text)
    source = Csv(str(path))
    assert source.names["label"] == ("0", "1") and not source.report


def test_a_name_that_looks_numbered_is_a_name(tmp_path):
    path = table(tmp_path)
    (tmp_path / "classes.txt").write_text("type 1\ntype 2\n")
    assert Csv(str(path)).names["label"] == ("type 1", "type 2")


def test_ids_of_one_set_are_not_mixed_with_the_names_of_the_other(tmp_path):
    table(tmp_path, "file,label\n0.jpg,0\n1.jpg,1\n2.jpg,2\n")
    table(tmp_path, "file,label\n3.jpg,1\n", "val.csv")  # counted from 0 or from 1, which is open
    (tmp_path / "classes.txt").write_text("a\nb\nc\n")
    with pytest.raises(DataError, match="^val: expected classes as the training set's, a, b, c, got 1: .* as id,name"):
        load_sources(tmp_path, ("label",), 0.5, 0)


def test_the_order_of_classes():
    assert in_order(["b", "10", "9", "0.5", "-1", "a", "9"]) == ["-1", "0.5", "9", "10", "a", "b"]
