"""Tables of tags."""

import csv
import os

import numpy as np
import pytest

from visiontasks.data.detect import detect
from visiontasks.data.images import write_image
from visiontasks.data.load import load_data, load_source, load_sources
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


def test_a_ragged_row_of_a_table_in_a_folder_is_named(root):
    (root / "labels.csv").write_text("path,tags\na.jpg,cat\nb.jpg,dog,cow\n")
    with pytest.raises(DataError, match=r"csv: .*labels\.csv, line 3: expected 2 columns as in the first row, got 3"):
        detect(root)


@pytest.mark.parametrize("target", ["pipe", "/dev/zero"])
def test_item_85_a_table_that_is_a_pipe_or_a_device(root, target):
    os.mkfifo(root / "pipe")
    with pytest.raises(DataError, match="expected a text table, got .*: it is no regular file"):
        Csv(str(root / target))


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


def lay_out(root, tables, *images):
    for name in images:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(root / name, np.zeros((5, 6, 3), np.uint8))
    for name, text in tables.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def read(root, wanted):
    """(training source, validation source or None) of what `detect` finds for the fields."""
    splits, _ = detect(root, wanted)
    assert splits["train"].pop("source") == "csv"
    return [Csv(**{k: v for k, v in split.items() if k != "source"}) if split else None for split in splits.values()]


@pytest.mark.parametrize("wanted", [["label"], ["tags"], ["label", "tags"]])
@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("id,breed\n00a,pug\n00b,husky\n00c,pug\n", ("husky", "pug")),
        ("image_id,label\n00a.jpg,10\n00b.jpg,9\n00c.jpg,10\n", ("9", "10")),
        ("image_id,label\n00a.jpg,1\n00b.jpg,0\n00c.jpg,1\n", ("0", "1")),
        (",pic,label\n0,00a.jpg,pug\n1,00b.jpg,husky\n2,00c.jpg,pug\n", ("husky", "pug")),
        ("sex,image_id,dx,age\nm,00a,nv,80\nf,00b,mel,70\nm,00c,nv,3\n", ("mel", "nv")),
        ("00a.jpg,pug\n00b.jpg,husky\n00c.jpg,pug\n", ("husky", "pug")),
        ("00a,pug\n00b,husky\n00c,pug\n", ("husky", "pug")),
        ("pug,00a.jpg\nhusky,00b.jpg\npug,00c.jpg\n", ("husky", "pug")),
    ],
    ids=["no suffix", "numbers", "two numbers", "index", "further columns", "no names", "bare", "class first"],
)
def test_one_value_for_each_image_is_a_label_too(tmp_path, text, names, wanted):
    lay_out(tmp_path, {"labels.csv": text}, *(f"train/00{letter}.jpg" for letter in "abc"), "test/z.jpg")
    source, _ = read(tmp_path, wanted)
    assert source.fields == {"label", "tags"} and source.names == {"label": names, "tags": names}
    assert [source[n].label for n in range(3)] == [1, 0, 1]
    assert source[1].tags.tolist() == [1, 0]


def test_a_set_of_several_tags_beside_one_of_labels_is_an_error(tmp_path):
    """Of one column: a cell with a list in the rows of validation alone."""
    rows = 'a.png,cat,train\nb.png,dog,train\nc.png,cat,val\nd.png,"[1, 2",val\n'
    lay_out(tmp_path, {"labels.csv": f"id,label,split\n{rows}"}, "a.png", "b.png", "c.png", "d.png")
    splits, _ = detect(tmp_path, ())
    with pytest.raises(DataError, match="val: expected label as in the training set, got tags"):
        load_sources(splits, (), 0.2, 0)


def test_one_flag_is_a_tag_or_two_classes(tmp_path):
    lay_out(tmp_path, {"train.csv": "id,has_cactus\na.jpg,1\nb.jpg,0\n"}, "a.jpg", "b.jpg")
    assert read(tmp_path, ["tags"])[0].names == {"tags": ("has_cactus",)}
    assert read(tmp_path, ["label"])[0].names["label"] == ("0", "1")


def test_columns_of_flags_that_exclude_each_other_are_a_label_too(tmp_path):
    text = "image_id,healthy,rust\nTrain_0,1,0\nTrain_1,0,1\n"
    unlabeled = {"test.csv": "image_id\nTest_0\n", "sample_submission.csv": "image_id,healthy,rust\nTest_0,0.5,0.5\n"}
    images = (f"images/T{name}.jpg" for name in ("rain_0", "rain_1", "est_0"))
    lay_out(tmp_path, {"train.csv": text, **unlabeled}, *images)
    source, val = read(tmp_path, ["label"])
    assert val is None and [source[n].label for n in range(2)] == [0, 1]
    assert source.report.count("table without labels beside, not used") == 2


@pytest.mark.parametrize(
    "rows",
    [
        "filename,cat,dog\na.jpg,True,TRUE\nb.jpg,False,true\nc.jpg,false,FALSE\n",
        "Unnamed: 0,filename,cat,dog\n0,a.jpg,1,1\n1,b.jpg,0,1\n2,c.jpg,0,0\n",
        ",photo,cat,dog\n7,a.jpg,1.0,1.0\n8,b.jpg,0.0,1.0\n9,c.jpg,0.0,0.0\n",
        "split,cat,dog,path,width\ntrain,1,1,a.jpg,6\ntrain,0,1,b.jpg,6\ntrain,0,0,c.jpg,6\n",
        "filename, cat, dog\na.jpg, 1, 1\nb.jpg, 0, 1\nc.jpg, 0, 0\n",
    ],
    ids=["bool", "index", "unnamed index", "further columns", "blanks"],
)
def test_flags_as_pandas_and_others_write_them(root, rows):
    source = table(root, rows)
    assert source.names == {"tags": ("cat", "dog")} and tags_of(source) == EXPECTED


def test_a_column_that_is_not_read_is_reported(root):
    source = table(root, "path,cat,dog,age\na.jpg,1,0,70\nb.jpg,1,1,80\n")
    assert source.names == {"tags": ("cat", "dog")} and "columns= names others" in str(source.report)
    assert table(root, "path,cat,dog,age\na.jpg,1,0,70\nb.jpg,1,1,80\n", columns=["age"]).names["tags"] == ("70", "80")
    with pytest.raises(DataError, match=r"^columns: expected columns of .*\(path, cat\), got \['emu'\]"):
        table(root, "path,cat\na.jpg,1\n", columns=["emu"])
    with pytest.raises(DataError, match="got color, shape; name them with columns"):
        table(root, "path,color,shape\na.jpg,red,round\n")


def test_minus_one_without_a_zero_is_no(root):
    """As CelebA's table has it."""
    source = table(root, "image_id,bald,smiling\na.jpg,-1,1\nb.jpg,1,1\nc.jpg,-1,\n")
    assert tags_of(source) == {"a.jpg": [0, 1], "b.jpg": [1, 1], "c.jpg": [0, -1]}
    assert source.report.count("table of 1 and -1 without a 0: -1 is read as 0") == 1


@pytest.mark.parametrize(
    "cells",
    [
        ("\"['cat', 'dog']\"", "['dog']", "[]"),
        ('"[""cat"", ""dog""]"', '"[""dog""]"', "[]"),
        ("['cat' 'dog']", "['dog']", "[]"),
        ('"{cat,dog}"', "{dog}", "{}"),
        ("\"('cat', 'dog')\"", "\"('dog',)\"", ""),
    ],
    ids=["python", "json", "numpy", "postgres", "tuple"],
)
def test_lists_in_cells(root, cells):
    rows = "".join(f"{name}.jpg,{cell}\n" for name, cell in zip("abc", cells, strict=True))
    source = table(root, f"image,tags\n{rows}")
    assert source.names == {"tags": ("cat", "dog")} and tags_of(source) == EXPECTED


def test_vectors_of_0_and_1_are_no_tags(root):
    text = "filename,N,D,labels,target\na.jpg,1,0,['N'],\"[1, 0]\"\nb.jpg,0,1,['D'],\"[0, 1]\"\n"
    assert table(root, text).names["tags"] == ("D", "N")
    with pytest.raises(DataError, match="expected one column of labels beside 'filename'"):
        table(root, 'filename,target\na.jpg,"[1, 0]"\nb.jpg,"[0, 1]"\n')
    assert table(root, 'filename,tags\na.jpg,"[1]"\nb.jpg,"[0, 1]"\n').names["tags"] == ("0", "1")


def test_choices_of_label_studio(root):
    source = table(root, 'image,choice\na,cat\nb,"{""choices"": [""cat"", ""dog""]}"\n')
    assert source.names["tags"] == ("cat", "dog") and source[1].tags.tolist() == [1, 1]


def test_item_96_the_rows_of_an_image_are_joined_and_flags_may_not_differ(root):
    source = table(root, "image,tag\na.jpg,cat\nb.jpg,dog\na.jpg,dog\nc.jpg,\nb.jpg,dog\n")
    assert tags_of(source) == EXPECTED and source.fields == {"tags"}
    assert source.report.count("image of several rows, whose labels are joined") == 2
    with pytest.raises(DataError, match=r"line 4: expected each image once, got a.jpg in line 2 with other tags \(cat"):
        table(root, "image,cat,dog\na.jpg,1,0\nb.jpg,0,1\na.jpg,0,0\n")
    assert len(table(root, "image,cat,dog\na.jpg,1,0\nb.jpg,0,1\na.jpg,1,0\n")) == 2


@pytest.mark.parametrize(
    ("header", "cells", "names"),
    [
        ("tags", ("hot dog", "ice cream", "pizza"), ("hot dog", "ice cream", "pizza")),
        ("tags", ("haze primary", "clear primary", "cloudy"), ("clear", "cloudy", "haze", "primary")),
        ("breed", ("golden retriever", "labrador retriever", "pug"), ("golden retriever", "labrador retriever", "pug")),
        ("label", ("cat dog", "cat", "dog"), ("cat", "dog")),
        ("Target", ("5 16", "0", "12"), ("0", "5", "12", "16")),
    ],
)
def test_names_of_several_words(root, header, cells, names):
    rows = "".join(f"{name}.jpg,{cell}\n" for name, cell in zip("abc", cells, strict=True))
    source = table(root, f"image,{header}\n{rows}")
    assert source.names["tags"] == names
    assert ("kept whole" if " " in "".join(names) else "split at white space") in str(source.report)
    words = {word for cell in cells for word in cell.split()}
    assert set(table(root, f"image,{header}\n{rows}", separator="space").names["tags"]) == words


def test_a_list_of_classes_gives_their_order_and_their_names(root):
    (root / "classes.csv").write_text("name,id\ncow,1\nemu,0\n")
    assert table(root, "file,label\na.jpg,cow\nb.jpg,emu\n").names["label"] == ("emu", "cow")
    source = table(root, "file,label\na.jpg,1\nb.jpg,1\n")
    assert source.names["label"] == ("emu", "cow") and source[0].label == 1
    assert table(root, "file,label\na.jpg,yak\n").names["label"] == ("yak",)


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("train_labels.csv", "validation_annotations.csv"),
        ("labels_train.csv", "labels-val.csv"),
        ("trainLabels.csv", "testLabels.csv"),
        ("annotations.csv", "val_annotations.csv"),
        ("train_v2.csv", None),
        ("annotations/train.csv", "annotations/valid.csv"),
    ],
)
def test_the_words_in_names_of_tables(tmp_path, train, val):
    """Folders of splits beside them are no classes."""
    tables = {train: "file,label\na.jpg,cat\nb.jpg,dog\n", **({val: "file,label\nc.jpg,dog\n"} if val else {})}
    lay_out(tmp_path, tables, "train/a.jpg", "train/b.jpg", "val/c.jpg", "val/d.jpg")
    for wanted in (["label"], ["tags"]):
        splits, _ = detect(tmp_path, wanted)
        assert splits["train"] == {"source": "csv", "path": str(tmp_path / train), "root": str(tmp_path / "train")}
        assert (splits["val"] or {}).get("path") == (str(tmp_path / val) if val else None)


def test_images_in_several_folders(tmp_path):
    lay_out(tmp_path, {"all.csv": "id,tags\na,cat;dog\nb,dog\n"}, "part_1/a.jpg", "part_2/b.jpg")
    source, _ = read(tmp_path, ["tags"])
    assert [source[n].id for n in range(2)] == ["part_1/a.jpg", "part_2/b.jpg"]


def test_a_column_of_splits(tmp_path):
    text = "filepaths,labels,data set\na.jpg,cat,train\nb.jpg,dog,train\nc.jpg,dog,valid\nd.jpg,dog,test\n"
    lay_out(tmp_path, {"birds.csv": text}, *(f"{name}.jpg" for name in "abcd"))
    train, val = read(tmp_path, ["label"])
    assert (len(train), len(val)) == (2, 1) and val.describe(0) == str(tmp_path / "c.jpg")
    assert "2 rows belong to other splits" in str(train.report)
    with pytest.raises(DataError, match="split: expected a value of a column split in .*birds.csv, got 'emu'"):
        Csv(str(tmp_path / "birds.csv"), split="emu")


@pytest.mark.parametrize(
    ("tables", "reason"),
    [
        (
            {"l.csv": "file,label\nx.jpg,cat\ny.jpg,dog\n"},
            "l.csv names images in its column 'file', none of them below",
        ),
        ({"l.csv": "file,tags\na.jpg,cat;dog\n"}, r"a.jpg \(line 2\) has 2 in the column tags \(cat, dog\)"),
        ({"l.csv": "file,label\na.jpg,cat\nb.jpg,\n"}, r"b.jpg \(line 3\) has 0 in the column label"),
        ({"l.csv": "file,label\na.jpg,cat\na.jpg,dog\n"}, r"a.jpg \(line 2, 3\) has 2 in the column label"),
        ({"l.csv": "file,hue,tint\na.jpg,x,y\n"}, "beside 'file', or columns of 0 and 1, got hue, tint"),
        ({"l.csv": "file,label\na.jpg,cat\n", "m.csv": "file,label\nb.jpg,dog\n"}, "may be one set: l.csv, m.csv"),
        ({"train.csv": "file,label\na.jpg,cat\n", "val.csv": "file,label\nx.jpg,cat\n"}, "val.csv names images"),
    ],
)
def test_why_a_table_is_not_one_of_classes(tmp_path, tables, reason):
    lay_out(tmp_path, tables, "a.jpg", "b.jpg")
    with pytest.raises(DataError, match=f"(?s)What comes near:.*csv: .*{reason}"):
        detect(tmp_path, ["label"])


def test_files_in_another_letter_case_and_a_first_one_that_is_missing(tmp_path):
    rows = "".join(f"DSC_{n}.jpg,cat|night\n" for n in range(2))
    lay_out(tmp_path, {"l.csv": f"path,tags\ngone.jpg,dog\n{rows}"}, "DSC_0.JPG", "DSC_1.jpg")
    source, _ = read(tmp_path, ["tags"])
    assert len(source) == 2 and source.report.count("image missing, skipped") == 1


def test_tables_of_classes_and_of_tags_are_mixed(tmp_path):
    tables = {"one.csv": "file,tags\na.jpg,red\n", "two.csv": "file,tags\nb.jpg,red;soft\n"}
    lay_out(tmp_path, tables, "a.jpg", "b.jpg")
    source = load_source([{"source": "csv", "path": str(tmp_path / name)} for name in tables], "train")
    assert source.names["tags"] == source.names["label"] == ("red", "soft")
    assert [source[n].tags.tolist() for n in range(2)] == [[1, -1], [1, 1]]
    pair = {
        split: {"source": "csv", "path": str(tmp_path / name)}
        for split, name in zip(("train", "val"), tables, strict=True)
    }
    train, _ = load_data({**pair, "train": {**pair["train"], "names": ["red", "soft"]}}, batch=1, workers=0)
    assert {*train.fields} == {"tags"}  # the validation set has no label


def lay_out_table(root, text, *names):
    for name in names:
        write_image(root / name, np.zeros((8, 9, 3), np.uint8))
    (root / "table.csv").write_text(text)
    return Csv(str(root / "table.csv"))


def test_names_that_go_one_to_one_with_ids_are_the_classes(tmp_path):
    text = "file,class_id,title\na.png,0,cat\nb.png,1,dog\nc.png,0,cat\n"
    assert lay_out_table(tmp_path, text, "a.png", "b.png", "c.png").names["label"] == ("cat", "dog")
    (tmp_path / "table.csv").write_text("file,class_id,title\na.png,0,cat\nb.png,1,dog\nc.png,0,dog\n")
    assert Csv(str(tmp_path / "table.csv")).names["label"] == ("0", "1")


def test_a_column_whose_last_word_is_labels(tmp_path):
    text = "Image Index,Finding Labels,Follow-up #,Age\na.png,Mass|Hernia,0,58\nb.png,No Finding,1,61\n"
    assert lay_out_table(tmp_path, text, "a.png", "b.png").names["tags"] == ("Hernia", "Mass", "No Finding")


def test_a_table_of_splits_is_no_table_of_tags(tmp_path):
    lay_out_table(tmp_path, "image,Smiling,Young\na.png,1,-1\nb.png,-1,1\n", "a.png", "b.png")
    (tmp_path / "partition.csv").write_text("image,partition\na.png,0\nb.png,1\n")
    (tmp_path / "list_bbox.csv").write_text("image,x1,y1,width,height\na.png,1,1,5,5\nb.png,1,1,5,5\n")
    splits, _ = detect(tmp_path, ["tags"])  # boxes without classes give no tags
    assert splits["train"]["source"] == "csv" and splits["train"]["path"] == str(tmp_path / "table.csv")
    assert detect(tmp_path, ["boxes"])[0]["train"]["source"] == "boxes"


def test_a_table_in_a_folder_of_its_own(tmp_path):
    for split, word in (("Training", "t"), ("Validation", "v")):
        folder = tmp_path / f"ISIC_Task3_{split}_Input"
        folder.mkdir()
        rows = ["image,MEL,NV"]
        for number in range(4):
            write_image(folder / f"{word}{number}.png", np.zeros((4, 5, 3), np.uint8))
            rows.append(f"{word}{number},{float(number % 2)},{float(1 - number % 2)}")
        truth = tmp_path / f"ISIC_Task3_{split}_GroundTruth"
        truth.mkdir()
        (truth / f"ISIC_Task3_{split}_GroundTruth.csv").write_text("\n".join(rows) + "\n")
    splits, message = detect(tmp_path, ["label"])
    assert splits["train"]["source"] == splits["val"]["source"] == "csv", message
    assert "Training" in splits["train"]["root"] and "Validation" in splits["val"]["root"]


def test_long_cells_are_shortened_in_a_reason(tmp_path):
    (tmp_path / "train.csv").write_text("x,Image\n1," + "255-" * 999 + "\n")
    write_image(tmp_path / "a.png", np.zeros((4, 5, 3), np.uint8))
    with pytest.raises(DataError) as caught:
        detect(tmp_path, ["label"])
    assert "names images in its column" in str(caught.value) and len(str(caught.value)) < 1000


def test_numbers_are_no_classes_but_few_of_them_are(tmp_path):
    for number in range(14):
        write_image(tmp_path / f"{number}.png", np.zeros((4, 5, 3), np.uint8))

    def rows(values):
        return "image,age\n" + "".join(f"{number}.png,{value}\n" for number, value in enumerate(values))

    with pytest.raises(DataError, match="expected classes in the column age, got 14 numbers such as 20.5"):
        table(tmp_path, rows(20.5 + 1.3 * number for number in range(14)))
    assert len(table(tmp_path, rows(range(14))).names["label"]) == 14
    assert table(tmp_path, rows((number % 3) / 2 for number in range(14))).names["label"] == ("0.0", "0.5", "1.0")


def test_a_split_in_several_spellings_is_one(tmp_path):
    values = ("train", "Train ", "TRAIN", "training", "Valid", "val", "validation ", "test")
    rows = "".join(f"{n}.jpg,{'cat' if n % 2 else 'dog'},{value}\n" for n, value in enumerate(values))
    lay_out(tmp_path, {"all.csv": "file,label,split\n" + rows}, *(f"{n}.jpg" for n in range(8)))
    train, val = read(tmp_path, ["label"])
    assert (len(train), len(val)) == (4, 3) and "column that is not read" not in str(train.report)
    assert len(Csv(str(tmp_path / "all.csv"), split="Training")) == 4
    assert len(Csv(str(tmp_path / "all.csv"), split="test")) == 1


def test_a_second_column_of_splits_may_have_the_value(tmp_path):
    text = "file,label,set,split\na.jpg,cat,x,train\nb.jpg,dog,x,train\nc.jpg,dog,y,val\n"
    lay_out(tmp_path, {"all.csv": text}, "a.jpg", "b.jpg", "c.jpg")
    train, val = read(tmp_path, ["label"])
    assert (len(train), len(val)) == (2, 1)


@pytest.mark.parametrize(
    ("train", "val", "names"),
    [
        ("file,tags\na.jpg,cat;dog\nb.jpg,dog\n", "file,tags\nc.jpg,bee\n", ("bee", "cat", "dog")),
        ("file,tags\na.jpg,10;9\nb.jpg,9\n", "file,tags\nc.jpg,2\n", ("2", "9", "10")),
        ("file,cat,dog\na.jpg,1,0\nb.jpg,1,1\n", "file,bee,dog\nc.jpg,1,0\n", ("bee", "cat", "dog")),
    ],
)
def test_a_tag_that_only_the_validation_set_has(tmp_path, train, val, names):
    lay_out(tmp_path, {"train.csv": train, "val.csv": val}, "a.jpg", "b.jpg", "c.jpg")
    trained, validated = load_sources(tmp_path, ["tags"], 0.2, 0)
    assert trained.names["tags"] == validated.names["tags"] == names and validated[0].tags[0] == 1
    assert trained.report.count("class that only the validation set has, so it is not learned") == 1


def test_a_column_of_a_tag_that_names_lack_is_said(root):
    source = table(root, "path,cat,dog\na.jpg,1,1\nb.jpg,0,1\n", names=["dog"])
    assert ("column of a tag that names lacks, not read", ["cat"], False) in source.report.items()


def test_a_table_is_parsed_once_to_detect_it_and_once_to_load_it(tmp_path, monkeypatch):
    lay_out(tmp_path, {"all.csv": "file,label,split\na.jpg,cat,train\nb.jpg,dog,val\n"}, "a.jpg", "b.jpg")
    parsed, reader = [], csv.reader
    monkeypatch.setattr(csv, "reader", lambda *args, **kwargs: parsed.append(1) or reader(*args, **kwargs))
    splits, _ = detect(tmp_path, ["tags"])
    assert len(parsed) == 1
    load_sources(splits, ["tags"], 0.2, 0)
    assert len(parsed) == 2
    (tmp_path / "all.csv").write_text("file,label\na.jpg,cat\n")  # nothing is kept
    assert len(Csv(str(tmp_path / "all.csv"))) == 1
