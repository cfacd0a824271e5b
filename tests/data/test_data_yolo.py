"""YOLO's text files: what they may hold, and what is done about it."""

import numpy as np
import pytest

from visiontasks.data.detect import detect
from visiontasks.data.images import write_image
from visiontasks.data.load import load_data, load_source
from visiontasks.data.sources.yolo import Yolo
from visiontasks.errors import DataError

HEIGHT, WIDTH = 20, 40
YAML = "train: images/train\nval: images/val\nnc: 2\nnames: [cat, dog]\n"
BOX = "0 0.5 0.5 0.2 0.4"
POLYGON = "1 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75"


def write(root, labels, text=YAML, split="train"):
    for number, rows in enumerate(labels):
        name = "abcdef"[number]
        for folder in ("images", "labels"):
            (root / folder / split).mkdir(parents=True, exist_ok=True)
        write_image(root / f"images/{split}/{name}.png", np.full((HEIGHT, WIDTH, 3), number, np.uint8))
        if rows is not None:
            (root / f"labels/{split}/{name}.txt").write_text(rows)
    (root / "data.yaml").write_text(text)
    return str(root / "data.yaml")


def yolo(root, *labels, text=YAML, **arguments):
    return Yolo(write(root, labels, text), **arguments)


def test_a_sample_carries_every_label(tmp_path):
    source = yolo(tmp_path, f"{BOX}\n\n1 0.75 0.5 0.5 1.0\n", "", None)
    sample = source[0]
    assert source.names == dict.fromkeys(("classes", "tags", "label"), ("cat", "dog"))
    assert source.fields == {"boxes", "classes", "tags", "label"}
    np.testing.assert_allclose(sample.boxes, [[16, 6, 24, 14], [20, 0, 40, 20]], atol=1e-5)
    assert sample.classes.tolist() == [0, 1] and sample.tags.tolist() == [1, 1] and sample.label == 1
    assert (sample.id, sample.path) == ("images/train/a.png", str(tmp_path / "images/train/a.png"))
    for index in (1, 2):  # an empty file and none: background
        assert source[index].boxes.shape == (0, 4) and source[index].label == -1
    assert str(source.report).startswith("1 × image without a label file")


def test_polygons_give_boxes_and_masks(tmp_path):
    source = yolo(tmp_path, POLYGON + "\n", "")
    assert source.fields == {"boxes", "classes", "tags", "label", "instance_masks", "mask"}
    assert source.derived == {"mask"} and source.names["mask"] == ("background", "cat", "dog")
    expected = np.zeros((HEIGHT, WIDTH), np.int32)
    expected[5:15, 10:30] = source[0].classes[0] + 1
    np.testing.assert_array_equal(source[0].mask, expected)
    assert source[0].boxes.tolist() == [[10, 5, 30, 15]]
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[5:15, 10:30] = 1
    np.testing.assert_array_equal(source[0].instance_masks, [expected])
    assert np.asarray(source[1].instance_masks).shape == (0, HEIGHT, WIDTH)
    assert source.read(0, ("boxes",)).instance_masks is None


def test_items_26_and_43_numbers_outside_the_image(tmp_path):
    rows = ["0 1.2 0.5 0.1 0.1", "0 0.5 -0.5 0.1 0.1", "0 nan 0.5 0.1 0.1", "0 0.5 0.5 0 0.1", "0 0.5 0.5 1.0006 0.5"]
    good = "\n".join(f"1 0.5 0.5 0.{n} 0.4" for n in range(1, 8))  # few of all boxes are wrong
    source = yolo(tmp_path, "\n".join([*rows, "0 0.0 0.5 0.5 0.5", BOX]), good)
    np.testing.assert_allclose(source[0].boxes, [[0, 5, 40, 15], [0, 5, 10, 15], [16, 6, 24, 14]], atol=1e-4)
    assert {what: len(names) for what, names, _ in source.report.items()} == {
        "object with numbers outside [0, 1], skipped": 2,
        "box of NaN or infinity, skipped": 1,
        "box without extent, skipped": 1,
        "box that exceeds its image, clipped": 1,
    }
    assert "a.txt, line 1" in str(source.report)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("2 0.5 0.5 0.1 0.1", "line 1: expected a class index from 0 to 1, because .* names 2 classes, got 2"),
        ("-1 0.5 0.5 0.1 0.1", "class index from 0 to 1, .* got -1"),
        ("0.5 0.5 0.5 0.1 0.1", "class index from 0 to 1, .* got 0.5"),
        ("nan 0.5 0.5 0.1 0.1", "class index from 0 to 1, .* got nan"),
        (f"{BOX} 0.9", "line 1: expected class, x, y, width, height, or .* got 6 columns"),
        ("0 0.5 0.5 0.1", "got 4 columns"),
        ("0 0.5 0.5 0.1 0.1 0.2 0.3 2", "got 8 columns; for keypoints write kpt_shape"),
        ("0 0.5 0.5 0.1 0.1" + " 0.2 0.3 2" * 4, "got 17 columns; for keypoints write kpt_shape"),
        ("0 0.5 0.5 0.4 0.4" + " 0.4 0.6 1" * 4, "got 17 columns; for keypoints write kpt_shape"),
        ("0 0.5 0.5 0.4 0.4 0.4 0.6 1 0 0 0", "got 11 columns; for keypoints write kpt_shape"),
        ("0 0.5 0.5 0.1 x", "expected numbers, got '0 0.5 0.5 0.1 x'"),
    ],
    ids=[
        "44",
        "44 below",
        "44 half",
        "44 nan",
        "47 score",
        "47 four",
        "47 one point",
        "47 visibility",
        "47 hidden",
        "47 hidden pair",
        "text",
    ],
)
def test_items_44_47_rows_that_are_errors(tmp_path, rows, message):
    with pytest.raises(
        DataError, match=f"a.txt, {message}" if message.startswith("line") else f"a.txt, line 1: .*{message}"
    ):
        yolo(tmp_path, rows)


def test_a_polygon_with_corners_of_the_image_is_no_row_of_keypoints(tmp_path):
    source = yolo(tmp_path, "0 0 0 1 0 1 0.5 1 1 0 1\n0 0 0.2 0.5 0 1 0.2 1 0.6 0 1\n")
    assert len(source[0].boxes) == 2


@pytest.mark.parametrize("labels", [(f"{BOX}\n{POLYGON}",), (BOX, POLYGON)])
def test_item_45_of_boxes_among_polygons_the_boxes_alone_are_learned(tmp_path, labels):
    source = yolo(tmp_path, *labels)
    assert {"boxes", "instance_masks"} <= source.fields
    masks = np.concatenate([source[number].instance_masks.known for number in range(len(source))])
    assert masks.tolist() == [False, True] and [10, 5, 30, 15] in source[len(labels) - 1].boxes.tolist()
    assert source.report.count("files in which 1 of 2 objects have no polygon: of those only the box is learned") == 1


def test_item_46_rows_that_stand_twice(tmp_path):
    source = yolo(tmp_path, f"{BOX}\n{BOX}\n0 0.50 0.5 0.2 0.4\n")
    assert len(source[0].boxes) == 1
    assert source.report.count("row that occurs twice in a file, used once") == 2


def test_item_48_labels_are_read_anew(tmp_path):
    path = write(tmp_path, [BOX])
    (tmp_path / "labels/train.cache").write_bytes(b"old")
    assert len(Yolo(path)[0].boxes) == 1
    (tmp_path / "labels/train/a.txt").write_text(f"{BOX}\n1 0.2 0.2 0.1 0.1\n")
    assert len(Yolo(path)[0].boxes) == 2


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("train: images/train\nnames: {0: cat, 1: dog}\n", ("cat", "dog")),
        ("train: images/train\nnames:\n  1: dog\n  0: cat\n", ("cat", "dog")),
        ("train: images/train\nnc: 3\n", ("0", "1", "2")),
        ("train: images/train\nnames: [yes, 1]\n", ("True", "1")),
    ],
)
def test_names(tmp_path, text, names):
    assert yolo(tmp_path, BOX, text=text).names["classes"] == names
    assert Yolo.recognize(tmp_path) == {"train": {"data": str(tmp_path / "data.yaml"), "split": "train"}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: images/train\n", "expected names, a list of unique class names, got None"),
        ("train: images/train\nnames: [a, a]\n", "list of unique class names"),
        ("train: images/train\nnames: {0: a, 2: b}\n", "numbered 0, 1, … without gaps"),
        ("train: images/train\nnc: 3\nnames: [a, b]\n", "got nc: 3 and 2 names"),
        ("names: [a, b]\nval: x\n", r"expected a split of .* \(val\), got 'train'"),
        ("names: [a, b]\ntrain: images/gone\n", "expected a folder of images or a list of them, got .*gone"),
        ("names: [a, b]\ntrain: labels\n", "expected images in labels, got none"),
        ("names: [a, b\n", "expected a YAML file"),
        ("- a\n", "expected names, train and val, got list"),
        ("!!python/object/apply:os.system [echo]\n", "expected a YAML file"),
    ],
)
def test_data_yaml_that_is_wrong(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        yolo(tmp_path, BOX, text=text)
    assert not text.startswith(("!!", "-", "names: [a, b\n")) or "data.yaml" in Yolo.recognize(tmp_path)


def test_a_yaml_of_another_name_is_found_where_it_is_the_only_one(tmp_path):
    write(tmp_path, [BOX])
    (tmp_path / "data.yaml").rename(tmp_path / "coco8.yaml")
    (tmp_path / "recipe.yaml").write_text("backbone: lenet5\n")
    assert Yolo.recognize(tmp_path)["train"] == {"data": str(tmp_path / "coco8.yaml"), "split": "train"}
    (tmp_path / "other.yaml").write_text(YAML)
    assert "not one list of classes" in Yolo.recognize(tmp_path)
    assert detect(tmp_path / "other.yaml")[0]["train"]["data"] == str(tmp_path / "other.yaml")
    with pytest.raises(DataError, match=r"expected a folder, or a file such as data\.yaml .*: as yolo: .*no split"):
        (tmp_path / "recipe.yaml").write_text("train: images/train\n")
        detect(tmp_path / "recipe.yaml")


def test_names_given_are_looked_up_by_name(tmp_path):
    """A run that knows (cat, dog) must not take this set's class 0, a dog, for a cat."""
    text = "names: [dog, cat]\ntrain: images/train\n"
    other = "1 0.2 0.2 0.1 0.1"
    assert list(yolo(tmp_path, f"{BOX}\n{other}", text=text)[0].classes) == [0, 1]
    source = yolo(tmp_path, f"{BOX}\n{other}", text=text, names=["bird", "cat", "dog"])
    assert source.names["classes"] == ("bird", "cat", "dog")
    assert list(source[0].classes) == [2, 1] and list(source[0].tags) == [-1, 1, 1]
    assert list(source[0].known) == [False, True, True]  # nobody looked for birds
    with pytest.raises(DataError, match=r"line 2: expected a class among names \(dog\), got 'cat'.*add it to names"):
        yolo(tmp_path, f"{BOX}\n{other}", text=text, names=["dog"])
    yolo(tmp_path, BOX, text=text, names=["dog"])  # a class without objects may be missing


def test_names_given_are_those_of_the_numbers_where_there_is_only_a_count(tmp_path):
    text = "nc: 2\ntrain: images/train\n"
    source = yolo(tmp_path, BOX, text=text, names=["x", "y"])
    assert source.names["classes"] == ("x", "y") and list(source[0].classes) == [0]
    with pytest.raises(DataError, match="names: expected 2, as .* has, got 1"):
        yolo(tmp_path, BOX, text=text, names=["x"])


def test_folders_of_images(tmp_path):
    write(tmp_path, [BOX])
    write(tmp_path, [BOX, BOX], split="val")
    named = lambda text: len(Yolo(write(tmp_path, [], f"names: [a, b]\n{text}")))  # noqa: E731
    assert named("train: [images/train, images/val]") == 3
    assert named("train: images") == 3
    assert named(f"train: {tmp_path}/images/val") == 2
    assert named("train: ../images/val") == 2  # as Roboflow writes it
    assert named("path: .\ntrain: images/val") == 2
    assert named("train: /content/set/images/val") == 2  # of the machine that it was made on
    with pytest.raises(DataError, match="/content/set/images"):  # there is a folder images, but of which part?
        named("train: /content/set/images")
    (tmp_path / "set/images").mkdir(parents=True)
    (tmp_path / "set/labels").mkdir()
    write_image(tmp_path / "set/images/a.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    (tmp_path / "set/labels/a.txt").write_text(BOX)
    assert named("path: set\ntrain: images") == 1
    assert named("path: gone/coco\ntrain: images/val") == 2
    (tmp_path / "train.txt").write_text(
        f"./images/val/a.png\nimages/train/a.png\n{tmp_path}/images/val/b.png\nimages/x.png\n"
    )
    assert named("train: train.txt") == 3


def test_roboflows_layout(tmp_path):
    for split in ("train", "valid"):
        (tmp_path / split / "labels").mkdir(parents=True)
        (tmp_path / split / "images").mkdir()
        write_image(tmp_path / split / "images/a.jpg", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        (tmp_path / split / "labels/a.txt").write_text(BOX)
    (tmp_path / "data.yaml").write_text("train: ../train/images\nval: ../valid/images\nnames: [a]\n")
    splits, message = detect(tmp_path)
    assert splits["train"]["source"] == splits["val"]["source"] == "yolo" and "with a validation set" in message
    train, val = load_data(str(tmp_path), batch=1, fields=("boxes", "classes"), size=(32, 32), workers=0)
    assert len(train.source[0].boxes) == len(val.source[0].boxes) == 1
    assert val.source.describe(0) == str(tmp_path / "valid/images/a.jpg")


@pytest.mark.parametrize("file", ["classes.txt", "labels/classes.txt", "obj.names"])
@pytest.mark.parametrize("splits", [[""], ["train", "val"]])
def test_a_list_of_classes_instead_of_a_data_yaml(tmp_path, file, splits):
    for split in splits:
        (tmp_path / "labels" / split).mkdir(parents=True, exist_ok=True)
        (tmp_path / "labels" / split / "a.txt").write_text("1 0.5 0.5 0.2 0.4\n")
        (tmp_path / "images" / split).mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / "images" / split / "a.jpg", np.zeros((20, 30, 3), np.uint8))
    (tmp_path / file).write_text("cat\ndog\n")
    plan, message = detect(tmp_path, wanted=("boxes", "classes"))
    assert "read as yolo" in message and (plan["val"] is not None) == (len(splits) > 1)
    for split, spec in plan.items():
        if spec:
            source = Yolo(**{key: value for key, value in spec.items() if key != "source"})
            assert len(source) == 1 and source.names["classes"] == ("cat", "dog") and not source.report
            np.testing.assert_allclose(source[0].boxes, [[12, 6, 18, 14]], atol=1e-4)
            assert source[0].id == (f"images/{split}/a.jpg" if len(splits) > 1 else "images/a.jpg")


def test_a_list_of_classes_without_images_is_an_error(tmp_path):
    (tmp_path / "classes.txt").write_text("cat\n")
    with pytest.raises(DataError, match="data: expected a folder images beside"):
        Yolo(str(tmp_path / "classes.txt"))


def test_item_77_paths_that_lead_out(tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    write(root, [BOX])
    write(tmp_path / "other", [BOX])
    for text in ("train: ../other/images/train", f"train: {tmp_path}/other/images/train"):
        with pytest.raises(DataError, match=r"data\.yaml: .*expected a file in"):
            Yolo(write(root, [], f"names: [a]\n{text}\n"))
    with pytest.raises(DataError, match=r"^root: .*data\.yaml: .*expected a file in .*give a folder"):
        Yolo(write(root, [], "names: [a]\npath: ../other\ntrain: images/train\n"))
    write_image(tmp_path / "other/images/train/z.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    (root / "train.txt").write_text("../other/images/train/z.png\n")
    with pytest.raises(DataError, match=r"train\.txt: \.\./other.*expected a file in"):
        Yolo(write(root, [], "names: [a]\ntrain: train.txt\n"))
    path = write(root, [], "names: [a]\ntrain: images/train\n")
    assert Yolo(path, root=str(tmp_path / "other"))[0].path == str(tmp_path / "other/images/train/a.png")


def test_nothing_to_train_on(tmp_path):
    with pytest.raises(DataError, match=r"nothing to train on: expected label files such as .*labels/train/a\.txt"):
        yolo(tmp_path, "", None)


def test_a_huge_data_yaml_is_not_read(tmp_path):
    with pytest.raises(DataError, match="at most 1048576 bytes"):
        yolo(tmp_path, BOX, text=YAML + "#" * 2**20)


# layouts of more tools


def lay_out(root, images, files):
    for number, name in enumerate(images):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(root / name, np.full((HEIGHT, WIDTH, 3), number, np.uint8))
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


LISTS = "classes = 2\ntrain = data/train.txt\nvalid = data/valid.txt\nnames = data/obj.names\nbackup = backup/\n"
NAMES = "names: [cat, dog]\n"


@pytest.mark.parametrize(
    ("folder", "labels", "files", "given"),
    [
        ("obj_train_data", "obj_train_data", {"obj.data": LISTS, "obj.names": "cat\ndog\n", "train.txt": ""}, ""),
        ("obj_train_data", "obj_train_data", {"obj.names": "cat\ndog\n", "train.txt": ""}, "obj.names"),
        ("data", "data", {"obj.names": "cat\ndog\n", "images.txt": "data/a.png\n"}, ""),
        (".", ".", {"classes.txt": "cat\ndog\n", "README.txt": "of the tool\n"}, ""),
        ("images", "images", {"images/classes.txt": "cat\ndog\n"}, ""),
        ("train", "train", {"train/_darknet.labels": "cat\ndog\n"}, ""),
        ("JPEGImages", "labels", {"classes.names": "cat\ndog\n"}, ""),
        ("images", "labels", {"data.yaml": f"{NAMES}nc: 2\n"}, ""),
        ("images/val", "labels/val", {"dataset.yaml": f"{NAMES}path: /gone/set\nval: ./images/val/\n"}, ""),
        ("train/images", "train/labels", {"data.yaml": f"{NAMES}train: ../input/set/train/images\n"}, ""),
        ("train/images", "train/labels", {"data.yaml": f"{NAMES}train: C:\\Users\\me\\set\\train\\images\n"}, ""),
        (
            "train/images",
            "train/labels",
            {"a.yaml": f"{NAMES}train: train/images\nval: valid/images\n", "b.yaml": f"{NAMES}train: x\n"},
            "a.yaml",
        ),
    ],
    ids=[
        *("cvat", "obj.names", "yolov4", "labelimg", "beside in images", "roboflow darknet", "voc's folder"),
        *("supervision", "fiftyone", "kaggle", "windows", "given itself"),
    ],
)
def test_layouts_of_other_tools(tmp_path, folder, labels, files, given):
    images = [f"{folder}/{name}.png" for name in "ab"]
    rows = {f"{labels}/{name}.txt": "1 0.5 0.5 0.2 0.4\n" for name in "ab"}
    lists = {"train.txt": "".join(f"data/{name}\n" for name in images)} if "train.txt" in files else {}
    lay_out(tmp_path, images, {**rows, **files, **lists})
    splits, message = detect(tmp_path / given, wanted=("boxes", "classes"))
    assert "read as yolo, without a validation set" in message
    source = Yolo(**{key: value for key, value in splits["train"].items() if key != "source"})
    assert len(source) == 2 and source.names["classes"] == ("cat", "dog")
    assert all(source[index].classes.tolist() == [1] for index in range(2))
    assert not source.report or source.report.count("file name with other folders, found by its end") == 2


def test_lists_of_both_splits(tmp_path):
    files = {"obj.data": LISTS, "obj.names": "cat\n", "train.txt": "data/obj/a.png\n", "valid.txt": "data/obj/b.png\n"}
    lay_out(tmp_path, ["obj/a.png", "obj/b.png"], {**files, "obj/a.txt": BOX, "obj/b.txt": BOX})
    splits, _ = detect(tmp_path)
    for split, name in (("train", "a"), ("val", "b")):
        source = Yolo(**{key: value for key, value in splits[split].items() if key != "source"})
        assert [source.describe(0)] == [str(tmp_path / f"obj/{name}.png")] and len(source) == 1
        assert source.report.count("label file without an image, not used") == 0  # it is the other split's


def test_a_list_that_names_no_image_shows_three_names(tmp_path):
    lay_out(tmp_path, ["images/a.png"], {"labels/a.txt": BOX, "train.txt": "x/1.png\nx/2.png\nx/3.png\nx/4.png\n"})
    (tmp_path / "data.yaml").write_text(f"{NAMES}train: train.txt\n")
    with pytest.raises(DataError, match=r"got none of the 4 .*\(x/1\.png, x/2\.png, x/3\.png, …\)"):
        Yolo(str(tmp_path / "data.yaml"))


def test_images_and_labels_without_a_list_of_classes_say_so(tmp_path):
    lay_out(tmp_path, ["a.png"], {"a.txt": BOX})
    with pytest.raises(DataError, match=r"yolo: .*images and label files, but not one list of classes: add data\.yaml"):
        detect(tmp_path)


def test_label_files_without_an_image_and_of_another_unicode_form(tmp_path):
    files = {"classes.txt": "cat\n", "lost.txt": BOX, "empty.txt": "", "note.txt": "words\n", "\u00e9.txt": BOX}
    lay_out(tmp_path, ["a.png", "e\u0301.png"], {**files, "a.TXT": BOX})
    source = Yolo(str(tmp_path / "classes.txt"))
    assert [len(source[n].boxes) for n in range(2)] == [1, 1]
    assert source.report.count("label file whose name has another letter case or Unicode form") == 2
    assert f"1 × label file without an image, not used: {tmp_path / 'lost.txt'}" in str(source.report)


@pytest.mark.parametrize(
    ("row", "cause"),
    [
        ("0 1{} 10 5 5", "they seem to be pixels: divide them by the image's width and height"),
        ("0 10 5 20 5 20 1{}", "they seem to be pixels"),
        ("0 0.{} 0.6 0.9 0.95", "they seem to be x1, y1, x2, y2"),
        ("0 0.0{} 0.05 0.9 0.8", "they seem to be x"),
    ],
)
def test_most_boxes_in_another_format_are_an_error(tmp_path, row, cause):
    rows = "\n".join(row.format(number) for number in range(5, 9))
    with pytest.raises(DataError, match=f"expected boxes as center x, .* look wrong, such as .*; {cause}"):
        yolo(tmp_path, rows, "")


def test_an_image_whose_rows_are_all_broken_is_no_background(tmp_path):
    source = yolo(tmp_path, "0 0.5 0.5 0 0.1\n", BOX, "")
    assert [source[n].id for n in range(len(source))] == ["images/train/b.png", "images/train/c.png"]
    assert source.report.count("image whose objects were all skipped, left out") == 1


def test_a_validation_set_that_does_not_exist_is_none(tmp_path):
    write(tmp_path, [BOX], "names: [a]\ntrain: images/train\nval: images/val\n")
    assert detect(tmp_path)[0]["val"] is None


def test_label_files_without_images_say_so(tmp_path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (tmp_path / "classes.txt").write_text("cat\n")
    with pytest.raises(DataError, match="yolo: .* has label files, but no images; lay them into a folder images"):
        detect(tmp_path, ["boxes", "classes"])


@pytest.mark.parametrize(
    ("row", "text"), [("0, 0.5, 0.5, 0.2, 0.2", "separate them by spaces"), ("0 0.5 0.5 0.2 0.2 0.9", "a confidence")]
)
def test_rows_with_commas_or_a_confidence(tmp_path, row, text):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    write_image(tmp_path / "images/a.jpg", np.zeros((20, 30, 3), np.uint8))
    (tmp_path / "labels/a.txt").write_text(row + "\n")
    (tmp_path / "classes.txt").write_text("cat\n")
    splits, _ = detect(tmp_path, ["boxes", "classes"])
    with pytest.raises(DataError, match=rf"a\.txt, line 1: .*{text}"):
        load_source(splits["train"], "train")


def test_a_percent_encoded_label_file(tmp_path):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    write_image(tmp_path / "images/my photo.jpg", np.zeros((20, 30, 3), np.uint8))
    (tmp_path / "labels/my%20photo.txt").write_text(BOX + "\n")
    (tmp_path / "classes.txt").write_text("cat\n")
    source = load_source(detect(tmp_path, ["boxes", "classes"])[0]["train"], "train")
    assert len(source[0].boxes) == 1 and source.report.count("label file percent-encoded") == 1


def test_two_images_with_one_label_file_are_said(tmp_path):
    path = write(tmp_path, [BOX, BOX])
    write_image(tmp_path / "images/train/a.jpg", np.full((HEIGHT, WIDTH, 3), 9, np.uint8))
    source = Yolo(path)
    files = [str(tmp_path / f"images/train/a.{suffix}") for suffix in ("jpg", "png")]
    assert len(source) == 3 and source.report.items() == [
        ("image with the label file of another of its name, as a.jpg and a.png", files, False)
    ]
