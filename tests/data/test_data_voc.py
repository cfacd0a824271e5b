"""PASCAL VOC's XML: what its files may hold, and what is done about it."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from visiontasks.data.detect import detect
from visiontasks.data.images import write_image
from visiontasks.data.load import load_data, load_source
from visiontasks.data.pipeline import Loader
from visiontasks.data.sources.voc import Voc
from visiontasks.errors import DataError

BCCD = Path(__file__).resolve().parents[2] / "../shared/data/bccd/BCCD"
HEIGHT, WIDTH = 20, 30


def thing(name="cat", box=(3, 4, 12, 13), extra=""):
    corners = "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name>{extra}<bndbox>{corners}</bndbox></object>"


def size_of(width=WIDTH, height=HEIGHT):
    return f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"


def write(root, text, name="a", image=True):
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    data = text if isinstance(text, bytes) else text.encode()
    (root / f"Annotations/{name}.xml").write_bytes(data)
    if image:
        write_image(root / f"JPEGImages/{name}.jpg", np.zeros((HEIGHT, WIDTH, 3), np.uint8))


def voc(root, *things, size=None, **arguments):
    write(root, f"<annotation>{size_of() if size is None else size}{''.join(things)}</annotation>")
    return Voc(str(root), **arguments)


def lists(root, **splits):
    for name, lines in splits.items():
        (root / f"ImageSets/Main/{name}.txt").write_text("\n".join(lines) + "\n")


def test_a_sample_carries_every_label(tmp_path):
    source = voc(
        tmp_path,
        thing("dog"),
        thing("cat", (1, 1, 30, 20), "<difficult>1</difficult>"),
        thing("cat", (1, 1, 2, 2), "<truncated>1</truncated><difficult>Unspecified</difficult>"),
    )
    sample = source[0]
    assert source.names == dict.fromkeys(("classes", "tags", "label"), ("cat", "dog"))
    assert sample.boxes.tolist() == [[2, 3, 12, 13], [0, 0, 30, 20], [0, 0, 2, 2]]
    assert sample.classes.tolist() == [1, 0, 0] and sample.tags.tolist() == [1, 1]
    assert sample.ignored.tolist() == [False, True, False] and sample.label == 1  # the largest that is not difficult
    (batch,) = Loader(source, fields=("boxes", "classes"), size=(HEIGHT, WIDTH), batch=1, workers=0)
    assert batch["ignored"].sum() == 1 and sample.boxes[1].tolist() in batch["boxes"][batch["ignored"]].tolist()
    assert (sample.id, sample.path) == ("a.jpg", str(tmp_path / "JPEGImages/a.jpg"))


def test_item_40_coordinates_from_one_or_from_zero(tmp_path):
    assert voc(tmp_path, thing(box=(1, 1, 30, 20)))[0].boxes.tolist() == [[0, 0, 30, 20]]  # the whole image
    assert voc(tmp_path, thing(box=(1, 1, 30, 20)), one_based=False)[0].boxes.tolist() == [[1, 1, 30, 20]]
    source = voc(tmp_path, thing(box=(0, 1, 30, 20)))
    assert source[0].boxes.tolist() == [[0, 0, 30, 20]] and "one_based=False" in str(source.report)


def test_item_38_size_zero_is_read_off_the_image(tmp_path):
    for size in (size_of(0, 0), "", "<size/>", size_of("nan", HEIGHT)):
        source = voc(tmp_path, thing(box=(1, 1, 99, 20)), size=size)
        assert source[0].boxes.tolist() == [[0, 0, 30, 20]]
        assert source.report.count("annotations without the image's height and width, taken from the image") == 1


def test_an_image_of_another_size_is_an_error_with_both(tmp_path):
    with pytest.raises(
        DataError,
        match=r"a\.xml: expected .*a\.jpg its height and width \(20, 30\).* got \(30.*, 20.*\), which .*EXIF",
    ):
        voc(tmp_path, thing(), size=size_of(HEIGHT, WIDTH))


def test_item_39_coordinates_with_a_point(tmp_path):
    assert voc(tmp_path, thing(box=("3.5", " 4.0 ", "1.2e1", "13")))[0].boxes.tolist() == [[2.5, 3, 12, 13]]


def test_item_41_tags_in_any_order(tmp_path):
    box = "<bndbox><ymax>13</ymax><xmax>12</xmax><ymin>4</ymin><xmin>3</xmin></bndbox>"
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    source = voc(tmp_path, f"<object>{part}{box}<name> cat </name></object>")
    assert source[0].boxes.tolist() == [[2, 3, 12, 13]] and source.names["classes"] == ("cat",)


def test_item_42_a_class_that_names_lacks(tmp_path):
    assert voc(tmp_path, thing("cat"), names=["dog", "cat"])[0].classes.tolist() == [1]
    with pytest.raises(DataError, match=r"a\.xml: expected a class among names \(dog\), got 'cat'"):
        voc(tmp_path, thing("cat"), names=["dog"])


def test_items_24_to_27_boxes(tmp_path):
    boxes = [(3, 4, 3, 9), (9, 4, 3, 9), ("nan", 4, 9, 9), (3, 4, 99, 9), (50, 4, 60, 9), (5, 5, 30.6, 9)]
    good = [(2, 2, 9, 9)] * 6  # few of all boxes are wrong
    source = voc(tmp_path, *(thing(box=box) for box in boxes + good))
    assert source[0].boxes.tolist() == [[2, 3, 30, 9], [4, 4, 30, 9]] + 6 * [[1, 1, 9, 9]]
    assert source.report.count("box without extent, skipped") == 2
    for what in (
        "box of NaN or infinity, skipped",
        "box that exceeds its image, clipped",
        "box outside of its image, skipped",
    ):
        assert source.report.count(what) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<object><name>cat</name></object>", "object 1: expected a name and a bndbox with xmin"),
        (thing(name=""), "object 1: expected a name"),
        (thing(box=(1, 2, "x", 4)), "expected numbers in bndbox, got 'x'"),
        (thing().replace("<xmax>12</xmax>", ""), "object 1: expected a name and a bndbox"),
    ],
)
def test_incomplete_objects(tmp_path, text, message):
    with pytest.raises(DataError, match=f"a.xml.*{message}"):
        voc(tmp_path, text)


BOMB = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><annotation><filename>&b;</filename></annotation>'


@pytest.mark.parametrize(
    "data",
    [
        BOMB.encode(),
        ('<?xml version="1.0" encoding="utf-16"?>' + BOMB).encode("utf-16"),
        b'<!DOCTYPE annotation SYSTEM "http://x/x.dtd"><annotation/>',
    ],
)
def test_a_doctype_is_refused_before_its_entities_grow(tmp_path, data):
    write(tmp_path, data)
    with pytest.raises(DataError, match=r"a\.xml: expected an XML without a DOCTYPE"):
        Voc(str(tmp_path))


def test_broken_files_and_missing_images_are_skipped(tmp_path):
    write(tmp_path, "<annotation><object>", "broken")
    write(tmp_path, f"<annotation>{size_of()}{thing()}</annotation>", "lonely", image=False)
    write(tmp_path, f"<annotation>{size_of()}</annotation>", "empty")
    source = voc(tmp_path, thing())
    assert [source[n].id for n in range(len(source))] == ["a.jpg", "empty.jpg"]
    assert source[1].boxes.shape == (0, 4) and source[1].label == -1  # background
    assert "broken XML" in str(source.report) and "lonely.jpg" in str(source.report)


def test_nothing_to_train_on(tmp_path):
    with pytest.raises(DataError, match="nothing to train on: expected objects, got none in 1 images"):
        voc(tmp_path)
    with pytest.raises(DataError, match="got 1 difficult objects and no other object in 1 images; set difficult to 0"):
        voc(tmp_path, thing(extra="<difficult>1</difficult>"))


def test_splits(tmp_path):
    for name in ("a", "b", "c d"):
        write(tmp_path, f"<annotation>{thing()}</annotation>", name)
    lists(tmp_path, train=["c d", "a"], cat_val=["b -1", "a  1", "", "gone 1"])
    ids = lambda split: [item.id for item in map(Voc(str(tmp_path), split).__getitem__, range(2))]  # noqa: E731
    assert ids("train") == ["c d.jpg", "a.jpg"] and ids("cat_val") == ["b.jpg", "a.jpg"]
    assert Voc(str(tmp_path), "cat_val").report.count("image without an XML file, skipped") == 1
    assert len(Voc(str(tmp_path))) == 3
    with pytest.raises(DataError, match=r"split: expected a list of images .*test\.txt \(of cat_val, train\)"):
        Voc(str(tmp_path), "test")


def test_item_77_names_that_lead_out(tmp_path):
    root = tmp_path / "set"
    write(root, f"<annotation><filename>../../secret.jpg</filename>{thing()}</annotation>", image=False)
    write_image(tmp_path / "secret.jpg", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    with pytest.raises(DataError, match=r"a\.xml: \.\./\.\./secret\.jpg: expected a file in"):
        Voc(str(root))
    lists(root, train=["../../secret"])
    with pytest.raises(DataError, match="expected a file in"):
        Voc(str(root), "train")
    with pytest.raises(DataError, match="^split: expected the name of a list in .*, got '../../../secret'"):
        Voc(str(root), "../../../secret")


@pytest.mark.parametrize(
    ("splits", "train", "val"),
    [
        (("train", "val", "trainval", "test"), "train", "val"),
        (("train", "test"), "train", "test"),
        (("trainval", "test"), "trainval", "test"),
        (("trainval",), "trainval", None),
        ((), None, None),
    ],
)
def test_layouts(tmp_path, splits, train, val):
    home = tmp_path / "VOC2012"
    write(home, f"<annotation>{thing()}</annotation>")
    lists(home, **{split: ["a"] for split in splits})
    expected = {"train": {"root": str(home)}, "val": {"root": str(home), "split": val}}
    if train:
        expected["train"]["split"] = train
    if val is None:
        del expected["val"]
    assert Voc.recognize(home) == Voc.recognize(tmp_path) == expected
    assert len(Voc(**expected["train"])) == 1
    if val == "test":
        assert "with its test set used for validation" in detect(home)[1]
    write(tmp_path / "VOC2007", "<annotation/>")
    assert Voc.recognize(tmp_path) is None  # which one?


@pytest.mark.parametrize(
    ("files", "images"),
    [
        ("annotations", "images"),
        ("Annotations", "Images"),
        (".", "."),
        (".", "images"),
        ("xml", "."),
        ("labels", "data"),
        ("annotations/xmls", "images"),
    ],
)
@pytest.mark.parametrize("splits", [[""], ["train", "valid"]])
def test_layouts_of_other_tools(tmp_path, files, images, splits):
    """Kaggle's, Roboflow's and LabelImg's: two folders of any name, or one, with or without splits."""
    for split in splits:
        for folder in (files, images):
            (tmp_path / split / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / split / files / "a.xml").write_text(f"<annotation>{size_of()}{thing()}</annotation>")
        (tmp_path / split / files / "._a.xml").write_text("no XML")
        write_image(tmp_path / split / images / "a.jpg", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    plan, message = detect(tmp_path, wanted=("boxes", "classes"))
    assert "read as voc" in message and (plan["val"] is not None) == (len(splits) > 1)
    for spec in filter(None, plan.values()):
        source = Voc(**{key: value for key, value in spec.items() if key != "source"})
        assert source[0].boxes.tolist() == [[2, 3, 12, 13]] and source[0].id == "a.jpg" and not source.report


def test_splits_in_the_two_folders(tmp_path):
    for split in ("train", "val"):
        lay_out(tmp_path, {"a": thing()}, f"annotations/{split}", f"images/{split}")
    plan, _ = detect(tmp_path)
    assert plan["val"]["annotations"] == "annotations/val" and plan["train"]["images"] == "images/train"


def lay_out(root, objects, files=".", images="."):
    for folder in (files, images):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, text in objects.items():
        if text is not None:
            (root / files / f"{name}.xml").write_text(f"<annotation>{size_of()}{text}</annotation>")
        write_image(root / images / f"{name}.jpg", np.zeros((HEIGHT, WIDTH, 3), np.uint8))


def test_images_without_an_xml_file_are_counted(tmp_path):
    lay_out(tmp_path, {"a": thing(), "b": None, "c": None})
    source = Voc(str(tmp_path), annotations=".", images=".")
    assert len(source) == 1 and source.report.count("image without an XML file, not used") == 2


def test_an_image_whose_objects_are_all_broken_is_no_background(tmp_path):
    write(tmp_path, f"<annotation>{thing(box=(5, 5, 5, 5))}</annotation>", "b")
    source = voc(tmp_path, thing())
    assert len(source) == 1 and source.report.count("image whose objects were all skipped, left out") == 1


def test_turned_boxes_become_the_upright_boxes_around_them(tmp_path):
    """CVAT writes degrees as an attribute, roLabelImg a box of its own with radians."""
    attribute = "<attribute><name>rotation</name><value>{}</value></attribute>"
    other = "<attribute><name>color</name><value>red</value></attribute>"
    cvat = [thing(box=(6, 8, 14, 12), extra=f"<attributes>{other}{attribute.format(n)}</attributes>") for n in (90, 0)]
    numbers = {"cx": 10, "cy": 10, "w": 8, "h": 4, "angle": np.pi / 2}
    tags = "".join(f"<{tag}>{number}</{tag}>" for tag, number in numbers.items())
    rolabelimg = f"<object><name>cat</name><robndbox>{tags}</robndbox></object>"
    source = voc(tmp_path, *cvat, rolabelimg, one_based=False)
    np.testing.assert_allclose(source[0].boxes, [[8, 6, 12, 14], [6, 8, 14, 12], [8, 6, 12, 14]], atol=1e-5)
    assert source.report.count("box with a rotation, taken as the upright box around it") == 2


@pytest.mark.parametrize(
    ("boxes", "cause"),
    [
        ([(0.1, 0.2, 0.5, 0.6)] * 3, "they seem to be shares of the image: multiply them"),
        ([(10, 10, 5, 5), (12, 10, 5, 5), (14, 10, 5, 5)], "they seem to be x, y, width, height"),
        ([(50, 50, 90, 90)] * 3, "may be of images of another size"),
    ],
)
def test_most_boxes_in_another_format_are_an_error(tmp_path, boxes, cause):
    with pytest.raises(DataError, match=f"expected boxes as x1, y1, x2, y2 in pixels, but 3 of 3 look wrong.*{cause}"):
        voc(tmp_path, *(thing(box=box) for box in boxes))


def test_lists_with_suffixes(tmp_path):
    """As VoTT writes them."""
    write(tmp_path, f"<annotation>{thing()}</annotation>")
    lists(tmp_path, cat_train=["a.jpg 1"])
    assert len(Voc(str(tmp_path), "cat_train")) == 1


def test_a_validation_set_without_a_class_numbers_the_others_alike(tmp_path):
    write(tmp_path, f"<annotation>{thing('cat')}{thing('dog')}</annotation>", "a")
    write(tmp_path, f"<annotation>{thing('dog')}</annotation>", "b")
    lists(tmp_path, train=["a"], val=["b"])
    train, val = load_data(str(tmp_path), batch=1, fields=("classes",), size=(32, 32), workers=0)
    assert val.source.names == train.source.names and val.source[0].classes.tolist() == [1]


@pytest.mark.skipif(not BCCD.is_dir(), reason="../shared/data/bccd is not beside this checkout")
def test_blood_cells():
    counts, skipped = {}, 0
    for split in ("train", "val", "test"):
        source = Voc(str(BCCD), split)
        counts[split] = len(source)
        skipped += source.report.count("box without extent, skipped")
        assert source.names["classes"] == ("Platelets", "RBC", "WBC")
        assert len(source[0].boxes) > 0
    assert counts == {"train": 205, "val": 87, "test": 72} and skipped == 2  # the two broken boxes


def test_polygons_of_the_tool_labelme_are_boxes(tmp_path):
    points = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in ((5, 6), (15, 6), (9, 12)))
    thing = f"<object><name>cat</name>{{}}<polygon>{points}</polygon></object>"
    text = f"<annotation>{thing.format('<deleted>0</deleted>')}{thing.format('<deleted>1</deleted>')}</annotation>"
    write(tmp_path, text)
    for one_based in (False, True):  # points are no pixels counted from 1
        assert Voc(str(tmp_path), one_based=one_based)[0].boxes.tolist() == [[5, 6, 15, 12]]


def test_a_class_that_only_the_validation_set_has_is_a_class_of_both(tmp_path):
    for split, name in (("train", "cat"), ("val", "dog")):
        folder = tmp_path / split
        folder.mkdir()
        write_image(folder / "a.png", np.full((HEIGHT, WIDTH, 3), len(split), np.uint8))
        box = "<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
        (folder / "a.xml").write_text(f"<annotation><object><name>{name}</name>{box}</object></annotation>")
    train, val = load_data(str(tmp_path), workers=0, batch=1)
    assert train.source.names["classes"] == val.source.names["classes"] == ("cat", "dog")
    assert train.source.report.count("class that only the validation set has, so it is not learned") == 1
    assert train.source[0].classes.tolist() == [0]
    assert val.source[0].classes.tolist() == [1]
    splits, _ = detect(tmp_path)
    splits["train"]["names"] = ["cat"]  # names that are given are not added to, and serve both
    with pytest.raises(DataError, match=r"^train.names: .*got 'dog'.* Set train.names=\[cat,dog\]"):
        load_data(splits, workers=0)


def test_cvats_file_of_all_images_is_not_a_file_of_one(tmp_path):
    (tmp_path / "images").mkdir()
    write_image(tmp_path / "images/a.jpg", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    (tmp_path / "annotations.xml").write_text("<annotations><image name='a.jpg'/></annotations>")
    assert Voc.recognize(tmp_path) is None


def test_xml_files_in_a_folder_of_any_name_beside_the_images(tmp_path):
    write(tmp_path / "set", f"<annotation>{size_of()}{thing()}</annotation>")
    (tmp_path / "set/JPEGImages/a.jpg").rename(tmp_path / "a.jpg")
    (tmp_path / "set/Annotations").rename(tmp_path / "labels_my-project_2024")
    splits, _ = detect(tmp_path, ["boxes", "classes"])
    assert splits["train"]["source"] == "voc" and splits["train"]["annotations"] == "labels_my-project_2024"


def test_xml_files_without_images_say_so(tmp_path):
    write(tmp_path, f"<annotation>{size_of()}{thing()}</annotation>", image=False)
    (tmp_path / "JPEGImages").rmdir()
    with pytest.raises(DataError, match="Annotations has XML files, but there are no images in .*export with images"):
        detect(tmp_path, ["boxes", "classes"])


def test_splits_in_folders_of_folders(tmp_path):
    for split in ("train", "test"):
        write(tmp_path / "x", f"<annotation>{size_of()}{thing()}</annotation>")
        (tmp_path / f"{split}_zip/{split}").mkdir(parents=True)
        for file in ("JPEGImages/a.jpg", "Annotations/a.xml"):
            (tmp_path / "x" / file).rename(tmp_path / f"{split}_zip/{split}" / Path(file).name)
    shutil.rmtree(tmp_path / "x")
    splits, message = detect(tmp_path, ["boxes", "classes"])
    assert [Path(splits[key]["root"]).name for key in ("train", "val")] == ["train", "test"], message


@pytest.mark.parametrize(
    ("train", "val"), [("Train", "Validation"), ("train", "valid"), ("cat_train", "cat_val"), ("trainval", "test")]
)
def test_names_of_lists(tmp_path, train, val):
    for name in "abc":
        write(tmp_path, f"<annotation>{size_of()}{thing()}</annotation>", name)
    lists(tmp_path, **{train: ["a.jpg 1", "b.jpg -1"], val: ["c.jpg 1"]})
    splits, message = detect(tmp_path, ["boxes", "classes"])
    assert (splits["train"]["split"], splits["val"]["split"]) == (train, val), message
    assert len(Voc(str(tmp_path), split=train)) == 2


@pytest.mark.parametrize("suffix", ["", ".xml"])
def test_folders_of_classes_whose_xml_files_may_lack_the_suffix(tmp_path, suffix):
    """As Stanford Dogs has them; names may be in several folders."""
    for number, breed in enumerate(("n02-Chihuahua", "n03-pug")):
        for folder in ("Images", "Annotation"):
            (tmp_path / folder / breed).mkdir(parents=True)
        for name in ("1", f"n_{number}"):
            write_image(tmp_path / f"Images/{breed}/{name}.jpg", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
            text = f"<annotation><filename>%s</filename>{size_of()}{thing(breed[4:])}</annotation>"
            (tmp_path / f"Annotation/{breed}/{name}{suffix}").write_text(text)
    splits, said = detect(tmp_path, ["boxes", "classes"])
    assert "read as voc" in said
    source = load_source(splits["train"], "train")
    assert source.names["classes"] == ("Chihuahua", "pug") and len(source) == 4 and not source.report
    found = {source[number].id: source[number].classes.tolist() for number in range(4)}
    assert found["n02-Chihuahua/1.jpg"] == [0] and found["n03-pug/1.jpg"] == [1]
    splits, _ = detect(tmp_path, ["label"])  # the folders say it
    assert splits["train"] == {"source": "folder", "root": str(tmp_path / "Images")}


def test_of_two_images_of_one_name_the_one_in_the_file_is_taken(tmp_path):
    write(tmp_path, f"<annotation><filename>a.jpg</filename>{size_of()}{thing()}</annotation>")
    write_image(tmp_path / "JPEGImages/a.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))  # a mask, say
    source = Voc(str(tmp_path))
    assert [source[0].id] == ["a.jpg"] and source.report.count("image without an XML file, not used") == 1


def test_two_files_for_one_image_are_an_error(tmp_path):
    for name in "ab":
        write(tmp_path, f"<annotation><filename>b.jpg</filename>{size_of()}{thing()}</annotation>", name, name == "b")
    with pytest.raises(DataError, match=r"b.xml: expected one file of annotations for .*b.jpg, but .*a.xml is another"):
        Voc(str(tmp_path))
