"""Tables of boxes."""

import os

import numpy as np
import pytest

from visiontasks.data.detect import detect
from visiontasks.data.images import write_image
from visiontasks.data.load import load_data
from visiontasks.data.sources.boxes import Boxes
from visiontasks.errors import DataError

HEIGHT, WIDTH = 20, 30
HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax\n"


@pytest.fixture
def root(tmp_path):
    for name in ("a.jpg", "b.jpg", "größe.jpg"):
        write_image(tmp_path / name, np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    return tmp_path


def table(root, text, encoding="utf-8", **arguments):
    path = root / "boxes.csv"
    path.write_bytes(text.encode(encoding))
    return Boxes(str(path), **arguments)


def test_rows_are_gathered_by_image(root):
    text = HEADER + "a.jpg,30,20,dog,1,2,10,12\nb.jpg,30,20,cat,0,0,5,5\na.jpg,30,20,cat,0.5,0,30,20\n"
    source = table(root, text)
    assert source.names == dict.fromkeys(("classes", "tags", "label"), ("cat", "dog")) and len(source) == 2
    sample = source[0]
    assert sample.boxes.tolist() == [[1, 2, 10, 12], [0.5, 0, 30, 20]] and sample.classes.tolist() == [1, 0]
    assert sample.tags.tolist() == [1, 1] and sample.label == 0
    assert (sample.id, sample.path) == ("a.jpg", str(root / "a.jpg"))


@pytest.mark.parametrize(
    "text",
    [
        "image;x1;y1;x2;y2;label\na.jpg;1;2;10;12;cat\nb.jpg;;;;;\n",
        "Image_Path\tLabel Name\tLeft\tTop\tRight\tBottom\na.jpg\tcat\t1\t2\t10\t12\nb.jpg\t\t\t\t\t\n",
        "ymax,ymin,xmax,xmin,name,path\r\n12,2,10,1,cat,a\r\n,,,,,b\r\n",
    ],
)
def test_columns_by_other_names_and_an_image_without_objects(root, text):
    source = table(root, text)
    assert source[0].boxes.tolist() == [[1, 2, 10, 12]] and source.names["tags"] == ("cat",)
    assert source[1].boxes.shape == (0, 4) and source[1].label == -1 and source[1].tags.tolist() == [0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_item_54_encodings(root, encoding):
    source = table(root, HEADER + "größe.jpg,,,Bär,1,2,10,12\n", encoding)
    assert source.names["classes"] == ("Bär",) and source[0].id == "größe.jpg"


def test_items_20_and_24_to_27(root):
    rows = ["a.jpg,,,cat,1,2,10,12", "gone.jpg,,,cat,1,2,10,12", "a.jpg,,,cat,5,2,5,12", "a.jpg,,,cat,nan,2,5,12"]
    source = table(root, HEADER + "\n".join([*rows, "a.jpg,,,cat,1,2,99,12", "a.jpg,,,cat,1,2,30.6,12"]))
    assert source[0].boxes.tolist() == [[1, 2, 10, 12], [1, 2, 30, 12], [1, 2, 30, 12]] and len(source) == 1
    for what in (
        "box without extent, skipped",
        "box of NaN or infinity, skipped",
        "box that exceeds its image, clipped",
    ):
        assert source.report.count(what) == 1
    assert "line 4" in str(source.report) and "image missing, skipped" in str(source.report)


def test_names_fix_the_order(root):
    text = HEADER + "a.jpg,,,cat,1,2,10,12\n"
    assert table(root, text, names=["dog", "cat"])[0].classes.tolist() == [1]
    with pytest.raises(DataError, match="line 2: expected a class among names .dog., got 'cat'.*Set names=.dog,cat."):
        table(root, text, names=["dog"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,xmin,ymin,xmax,class\na.jpg,1,2,3,cat\n", "expected columns file, .* without ymax; rename"),
        (HEADER + "a.jpg,,,cat,1,x,10,12\n", "line 2: expected four numbers, got 1, x, 10, 12"),
        (HEADER + "a.jpg,,,,1,2,10,12\n", "line 2: expected a class beside the box"),
        (HEADER + "a.jpg,,,No finding,,,,\n", "nothing to train on"),
        (HEADER + 3 * "a.jpg,,,cat,0.1,0.2,0.9,1\n", "expected boxes .* in pixels, .* shares of the image"),
        (HEADER + "a.jpg,,,,,,,\n", "nothing to train on"),
        (HEADER + "gone.jpg,,,cat,1,2,10,12\n", "none of the 1 that it names in .*gone.jpg.; give the folder"),
        (HEADER + "../x.jpg,,,cat,1,2,10,12\n", r"line 2: \.\./x\.jpg: expected a file in"),
        ("", "expected a first row"),
    ],
)
def test_wrong_tables_name_the_line(root, text, message):
    with pytest.raises(DataError, match=f"boxes.csv.*{message}"):
        table(root, text)


def test_item_77_a_link_of_the_user_is_followed_and_a_name_that_leads_out_is_not(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_image(elsewhere / "x.jpg", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    os.symlink(elsewhere, root / "link")
    assert len(table(root, HEADER + "link/x.jpg,,,cat,1,2,10,12\n")) == 1
    with pytest.raises(DataError, match="line 2: ../y.jpg: expected a file in"):
        table(root, HEADER + "../y.jpg,,,cat,1,2,10,12\n")


def test_parts_in_two_tables(root):
    (root / "train.csv").write_text(HEADER + "a.jpg,,,cat,1,2,10,12\na.jpg,,,dog,1,2,10,12\n")
    (root / "val.csv").write_text(HEADER + "b.jpg,,,dog,1,2,10,12\n")
    train, val = load_data(str(root), batch=1, fields=("boxes", "classes"), size=(32, 32), workers=0)
    assert isinstance(train.source, Boxes) and val.source.names == train.source.names
    assert val.source[0].classes.tolist() == [1]


def test_a_table_in_the_folder_of_each_part(tmp_path):
    """As Roboflow exports them."""
    for split, rows in (
        ("train", "a.jpg,,,cat,0,2,10,12\na.jpg,,,dog,1,2,10,12\n"),
        ("valid", "a.jpg,,,cat,1,2,10,12\n"),
    ):
        write(tmp_path / split / "a.jpg")
        (tmp_path / split / "_annotations.csv").write_text(HEADER + rows)
    train, val = load_data(str(tmp_path), batch=1, size=(32, 32), workers=0)
    assert isinstance(train.source, Boxes) and train.source[0].classes.tolist() == [0, 1]
    assert val.source.root == tmp_path / "valid" and val.source[0].classes.tolist() == [0]
    assert {"boxes", "classes"} <= {*train.fields}  # without being asked for


def test_images_in_a_folder_beside(tmp_path):
    write(tmp_path / "photos/a.jpg")
    (tmp_path / "labels.csv").write_text(HEADER + "a.jpg,,,cat,1,2,10,12\n")
    plan = {"train": {"path": str(tmp_path / "labels.csv"), "root": str(tmp_path / "photos")}}
    assert Boxes.recognize(tmp_path) == plan


def write(path):
    path.parent.mkdir(exist_ok=True)
    write_image(path, np.zeros((HEIGHT, WIDTH, 3), np.uint8))


def test_a_table_without_names_of_columns_and_a_list_of_classes(tmp_path):
    """As keras-retinanet reads them."""
    for name in "abc":
        write(tmp_path / f"imgs/{name}.jpg")
    (tmp_path / "annotations.csv").write_text("imgs/a.jpg,1,2,10,12,cat\nimgs/b.jpg,,,,,\nimgs/a.jpg,0,0,5,5,cow\n")
    (tmp_path / "val_annotations.csv").write_text("imgs/c.jpg,1,2,10,12,cow\n")
    (tmp_path / "classes.csv").write_text("cow,0\ncat,1\n")
    splits, message = detect(tmp_path, ["boxes"])
    assert [split["source"] for split in splits.values()] == ["boxes"] * 2 and "could also" not in message
    train, val = load_data(str(tmp_path), batch=1, fields=("boxes", "classes"), size=(32, 32), workers=0)
    assert train.source.names["classes"] == val.source.names["classes"] == ("cow", "cat")
    assert train.source[0].classes.tolist() == [1, 0] and len(train.source[1].boxes) == 0
    (tmp_path / "classes.csv").write_text("cow,0\n")
    with pytest.raises(DataError, match="line 1: expected a class among names .cow., got 'cat'"):
        Boxes(str(tmp_path / "annotations.csv"))


@pytest.mark.parametrize(
    "text",
    [
        "cat,1,2,9,10,a.jpg,30,20\n",
        "label_name,bbox_x,bbox_y,bbox_width,bbox_height,image_name,image_width,image_height\ncat,1,2,9,10,a.jpg,30,20\n",
        "image,label,x,y,width,height\na.jpg,cat,1,2,9,10\n",
        "image,label,x,y,w,h,width,height\na.jpg,cat,1,2,9,10,30,20\n",
        "image,width,height,x0,y0,x1,y1,label\na.jpg,30,20,1,2,10,12,cat\n",
        'image_id,width,height,bbox,category\na,30,20,"[1.0, 2.0, 9.0, 10.0]",cat\n',
    ],
    ids=["makesense.ai bare", "makesense.ai", "sides", "sides and the size", "from 0", "list"],
)
def test_other_forms_of_a_box(root, text):
    (root / "labels.csv").write_text(text)
    source = Boxes(**Boxes.recognize(root)["train"])
    assert source[0].boxes.tolist() == [[1, 2, 10, 12]] and source.names["classes"] == ("cat",)


def test_a_table_without_classes_has_one(root):
    source = table(root, "image,xmin,ymin,xmax,ymax\na.jpg,1,2,10,12\nb.jpg,,,,\n")
    assert source.names["classes"] == ("object",) and len(source[1].boxes) == 0 and "every box" in str(source.report)
    assert table(root, "image,xmin,ymin,xmax,ymax\na.jpg,1,2,10,12\n", names=["object"])[0].classes.tolist() == [0]


def test_images_that_were_resized_since(root):
    text = HEADER + "a.jpg,60,40,cat,2,4,20,24\nb.jpg,30,20,cat,1,2,10,12\n"
    fix = r"height and width \(20, 30\), got \(40, 60\).* Set scale_boxes=true."
    with pytest.raises(DataError, match=f"line 2: expected for .*a.jpg its {fix}"):
        table(root, text)
    source = table(root, text, scale_boxes=True)
    assert source[0].boxes.tolist() == source[1].boxes.tolist() == [[1, 2, 10, 12]]
    assert source.report.count("image of another size than in the table, its boxes scaled") == 1
    with pytest.raises(DataError, match=r"got \(30, 20\), which ignores the EXIF orientation"):
        table(root, HEADER + "a.jpg,20,30,cat,2,4,20,24\n", scale_boxes=True)


@pytest.mark.parametrize(
    ("header", "box", "cause"),
    [
        (
            "xmin,ymin,xmax,ymax",
            "20,15,5,5",
            "3 of 4 look wrong, .*; they seem to be x, y, width, height",
        ),
        ("xmin,ymin,xmax,ymax", "20,15,45,60", "3 of 4 look wrong, .* they may be of images of another size"),
        ("x,y,w,h", "20,15,28,18", "3 of 4 look wrong, .* they seem to be x1, y1, x2, y2"),
    ],
)
def test_most_boxes_are_in_another_format(root, header, box, cause):
    with pytest.raises(DataError, match=f"boxes.csv: expected .*{cause}"):
        table(root, f"file,{header},class\na.jpg,{box},cat\nb.jpg,{box},cat\na.jpg,{box},dog\nb.jpg,1,2,10,12,cat\n")


def test_percent_encoded_names_and_a_column_of_splits(tmp_path):
    for number in range(2):
        write(tmp_path / f"set/photo ({number}).jpg")
    rows = (f'"photo%20({n}).jpg",1,2,10,12,"nut",{split}\n' for n, split in enumerate(("train", "val")))
    (tmp_path / "set/parts-export.csv").write_text(
        '"image","xmin","ymin","xmax","ymax","label","split"\n' + "".join(rows)
    )
    splits, message = detect(tmp_path / "set", ["boxes"])
    assert "with a validation set" in message
    source = Boxes(**{key: value for key, value in splits["val"].items() if key != "source"})
    assert source.id_of(source.items[0][0]) == "photo (1).jpg" and len(source) == 1
    assert source.report.count("percent-encoded file name") == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("path,x1,y1,x2,name\na.jpg,3,4,50,cat\n", "got path, x1, y1, x2, name, without ymax; rename"),
        (
            HEADER + "x.jpg,,,cat,1,2,3,4\n",
            "boxes.csv names images in its column 'filename', none of them below .*x.jpg",
        ),
    ],
)
def test_why_a_table_is_not_one_of_boxes(root, text, reason):
    (root / "boxes.csv").write_text(text)
    with pytest.raises(DataError, match=f"(?s)What comes near:.*boxes: .*{reason}"):
        detect(root, ["boxes"])


@pytest.mark.parametrize(
    "text",
    [
        "image,class,x_center,y_center,width,height\na,cat,6,7,10,10\n",
        "image,class,cx,cy,w,h\na,cat,6,7,10,10\n",
        "image;class;xmin;ymin;xmax;ymax\na;cat;1,0;2,00;11;12\n",
        "sep=;\nimage;class;xmin;ymin;xmax;ymax\na;cat;1;2;11;12\n",
    ],
)
def test_centers_and_what_excel_writes(root, text):
    assert table(root, text)[0].boxes.tolist() == [[1, 2, 11, 12]]


def test_a_row_with_a_class_and_no_box_adds_no_object(root):
    source = table(root, "image_id,class_name,x_min,y_min,x_max,y_max\na,cat,1,2,10,12\nb,No finding,,,,\n")
    assert source.names["classes"] == ("cat",) and [len(source[n].boxes) for n in range(2)] == [1, 0]
    assert source.report.count("row with a class and no box, which adds no object") == 1


def test_columns_of_a_region_of_interest(root):
    text = "Width,Height,Roi.X1,Roi.Y1,Roi.X2,Roi.Y2,ClassId,Path\n30,20,1,2,10,12,4,a.jpg\n"
    source = table(root, text)
    assert source[0].boxes.tolist() == [[1, 2, 10, 12]] and source.names["classes"] == ("4",)


def test_class_csv_gives_the_order_of_the_classes(root):
    (root / "class.csv").write_text("dog,0\ncat,1\n")
    assert table(root, "a.jpg,1,2,10,12,cat\nb.jpg,1,2,10,12,dog\n").names["classes"] == ("dog", "cat")


def test_ids_of_classes_get_the_names_of_a_list_beside_the_table(tmp_path):
    write(tmp_path / "a.jpg")
    (tmp_path / "train.csv").write_text("file,xmin,ymin,xmax,ymax,class\na.jpg,1,2,10,12,1\na.jpg,1,2,8,9,2\n")
    (tmp_path / "label_map.json").write_text('{"cow": 1, "cat": 2, "yak": 3}')
    source = Boxes(str(tmp_path / "train.csv"))
    assert source.names["classes"] == ("cow", "cat", "yak") and source[0].classes.tolist() == [0, 1]
    assert source.report.count("class ids, named by the list of classes beside them") == 1
    assert Boxes(str(tmp_path / "train.csv"), names=["2", "1"]).names["classes"] == ("2", "1")


def test_an_image_whose_boxes_are_all_unusable_is_no_background(root):
    source = table(root, HEADER + "a.jpg,nan,nan,dog,1,2,10,12\nb.jpg,30,20,dog,5,5,5,9\ngröße.jpg,,,,,,,\n")
    assert [source.object_count(index) for index in range(len(source))] == [1, 0]
    assert source.report.count("image whose objects were all skipped, left out") == 1
    assert source.report.count("annotations without the image's height and width, taken from the image") == 1


def test_numbers_are_classes_in_the_order_of_their_values(root):
    rows = "".join(f"a.jpg,30,20,{number},1,2,10,12\n" for number in (10, 2, 0, 1, 11))
    assert table(root, HEADER + rows).names["classes"] == ("0", "1", "2", "10", "11")


def test_a_split_in_several_spellings_is_one(root):
    header = HEADER.replace("filename", "split,filename")
    rows = [f"{split},a.jpg,30,20,cat,1,2,10,12\n" for split in ("train", "Train", "TRAINING ", "Val")]
    source = table(root, header + "".join(rows), split="train")
    assert source.object_count(0) == 3


def test_names_alone_beside_a_table_of_ids_as_stanford_cars_has_them(root):
    (root / "names.csv").write_text("AM General Hummer SUV 2000\nAcura RL Sedan 2012\nAcura TL Sedan 2012\n")
    source = table(root, "a.jpg,1,2,10,12,3\nb.jpg,1,2,10,12,1\n")
    assert source.names["classes"][::2] == ("AM General Hummer SUV 2000", "Acura TL Sedan 2012")
    assert source[0].classes.tolist() == [2] and source[1].classes.tolist() == [0]
    assert "class ids, named by the list of classes beside them" in str(source.report)
