"""Class folders."""

from pathlib import Path

import numpy as np
import pytest

from visiontasks.data.batch import check_readable
from visiontasks.data.detect import detect
from visiontasks.data.images import write_image
from visiontasks.data.layout import RESULTS
from visiontasks.data.load import load_source, load_sources
from visiontasks.data.sources.folder import Folder
from visiontasks.errors import BadImage, DataError

FLOWERS = Path(__file__).resolve().parents[2] / "../shared/data/flowers"


def image(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.full((8, 9, 3), value, np.uint8))


def test_classes_are_the_sorted_folder_names(tmp_path):
    for name in ("dog/b.png", "dog/a.PNG", "cat/x.jpg", "ant/deep/er/y.png"):
        image(tmp_path / name)
    source = Folder(str(tmp_path))
    assert source.names == {"label": ("ant", "cat", "dog")}
    assert [(source[i].id, source[i].label) for i in range(len(source))] == [
        ("ant/deep/er/y.png", 0),
        ("cat/x.jpg", 1),
        ("dog/a.PNG", 2),
        ("dog/b.png", 2),
    ]
    assert source.describe(1) == source[1].path == str(tmp_path / "cat/x.jpg")
    assert source.fields == {"label"} and not source.report


def test_item_14_and_15_hidden_files_and_folders_are_no_classes(tmp_path):
    for name in ("cat/a.jpg", "dog/b.jpg", ".ipynb_checkpoints/c.jpg", "cat/.ipynb_checkpoints/d.jpg"):
        image(tmp_path / name)
    for name in (".DS_Store", "cat/.DS_Store", "cat/._a.jpg"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    source = Folder(str(tmp_path))
    assert source.names["label"] == ("cat", "dog") and len(source) == 2
    assert source.report.count("hidden folder, not used as a class") == 1
    assert source.report.count("folder without images, not used as a class") == 1
    assert ".ipynb_checkpoints" in str(source.report)


def test_loose_images_are_reported(tmp_path):
    image(tmp_path / "cat/a.jpg")
    image(tmp_path / "loose.jpg")
    assert Folder(str(tmp_path)).report.count("image outside the class folders, skipped") == 1


def test_names_fix_the_order_and_may_hold_a_class_without_images(tmp_path):
    image(tmp_path / "cat/a.jpg")
    image(tmp_path / "dog/a.jpg")
    source = Folder(str(tmp_path), names=["dog", "emu", "cat"])
    assert [source[i].label for i in range(2)] == [0, 2]
    assert source.report.count("class without images") == 1
    with pytest.raises(DataError, match="of names \\(cat\\), got also dog"):
        Folder(str(tmp_path), names=["cat"])


def test_item_86_a_link_to_all_classes_adds_none_of_the_others(tmp_path):
    for name in ("cat/a.jpg", "dog/b.jpg", "dog/c.jpg"):
        image(tmp_path / "set" / name)
    image(tmp_path / "pool/d.jpg")
    (tmp_path / "set/cat/up").symlink_to("..")
    (tmp_path / "set/cat/more").symlink_to(tmp_path / "pool")
    source = Folder(str(tmp_path / "set"))
    assert [(item[0].name, item[1]) for item in source.items] == [
        ("a.jpg", 0),
        ("d.jpg", 0),
        ("b.jpg", 1),
        ("c.jpg", 1),
    ]
    assert source.report.count("link to an image of another class, skipped") == 2


def test_item_57_no_class_at_all(tmp_path):
    with pytest.raises(DataError, match=r"expected a folder with images for each class, got none"):
        Folder(str(tmp_path))
    with pytest.raises(DataError, match="root: expected a folder"):
        Folder(str(tmp_path / "gone"))


def test_item_02_a_broken_image_is_told_when_read(tmp_path):
    image(tmp_path / "cat/a.jpg")
    (tmp_path / "cat/b.jpg").write_bytes(b"")
    source = Folder(str(tmp_path))
    assert len(source) == 2 and source[0].label == 0
    with pytest.raises(BadImage, match=r"b\.jpg: empty file"):
        source[1]


def test_item_11_the_pixel_limit_is_an_argument(tmp_path):
    image(tmp_path / "cat/a.png")
    with pytest.raises(BadImage, match="limit of 50"):
        Folder(str(tmp_path), max_pixels=50)[0]


@pytest.mark.skipif(not FLOWERS.is_dir(), reason="../shared/data/flowers is not beside this checkout")
def test_flowers():
    source = Folder(str(FLOWERS / "train"))
    assert source.names["label"] == ("daisy", "dandelion", "roses", "sunflowers", "tulips")
    assert np.bincount([source[i].label for i in range(0, 400, 8)]).tolist() == [10] * 5


def test_results_beside_the_data_are_neither_a_class_nor_read(tmp_path):
    """A run's folder, as `data=.` leaves it behind: the second `data=.` reads what the first read."""
    for path in ("cats/0.png", "dogs/0.png", "runs/classify/1/predictions/0.png", "runs/classify/1/curves.png"):
        image(tmp_path / path)
    (tmp_path / "runs/classify/1" / RESULTS).touch()
    splits, _ = detect(tmp_path)
    assert splits["train"]["source"] == "folder"
    source = load_source(splits["train"], "train")
    assert source.names["label"] == ("cats", "dogs") and len(source) == 2


def test_a_set_of_which_nothing_can_be_read_is_an_error_before_training(tmp_path):
    for name in ("cat/a.jpg", "dog/b.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"x")
    source = Folder(str(tmp_path))
    with pytest.raises(DataError, match=r"none of the 2 images can be read \(.*a\.jpg: not an image"):
        check_readable(source)
    image(tmp_path / "dog/b.jpg")
    check_readable(source)


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("training_set/training_set", "test_set/test_set"),
        ("train_mini", "val"),
        ("training", "testing"),
        ("asl_alphabet_train/asl_alphabet_train", None),
    ],
)
def test_splits_by_words_in_names_and_a_folder_of_the_same_deeper(tmp_path, train, val):
    for split in filter(None, (train, val)):
        for name in ("cat", "dog"):
            image(tmp_path / split / name / "a.jpg")
    image(tmp_path / "seg_pred/seg_pred/1.jpg")
    splits, message = detect(tmp_path, ["label"])
    assert splits["train"] == {"source": "folder", "root": str(tmp_path / train)}
    assert splits["val"] == (val and {"source": "folder", "root": str(tmp_path / val)})
    assert ("its test set used for validation" in message) == ("test" in (val or ""))


def test_a_test_set_without_class_folders_is_left_out_and_reported_but_no_validation_set(tmp_path):
    for name in ("Train/cat/a.jpg", "Train/dog/b.jpg", "Test/1.jpg"):
        image(tmp_path / name)
    splits, _ = detect(tmp_path, ["label"])
    assert splits["val"] is None
    assert load_source(splits["train"], "train").report.count("test images without class folders, not used") == 1
    image(tmp_path / "val/1.jpg")
    with pytest.raises(DataError, match="val has images, but not in class folders as .*Train has them"):
        detect(tmp_path, ["label"])


@pytest.mark.parametrize("names", [("Aves/Parus/a.jpg", "Insecta/Apis/b.jpg"), ("n1/img/a.jpg", "n2/img/b.jpg")])
def test_class_folders_in_folders_are_explained(tmp_path, names):
    for name in names:
        image(tmp_path / "set" / name)
    with pytest.raises(
        DataError, match=r"set holds folders of images in folders, .*source folder with the root \S+set, to learn the"
    ):
        detect(tmp_path, ["label"])
    image(tmp_path / "set/Aves/Corvus/c.jpg")  # of nested folders one is a data set, and is not all
    with pytest.raises(DataError, match="no source recognizes"):
        detect(tmp_path, ["label"])


def test_a_folder_images_in_each_class_and_a_flat_validation_set(tmp_path):
    for name in ("train/n1/images/a.jpg", "train/n2/images/b.jpg", "train/n2/images/c.jpg"):
        image(tmp_path / name)
    (tmp_path / "train/n1/n1_boxes.txt").write_text("a.jpg\t0\t10\t63\t58\n")
    source = load_source(detect(tmp_path, ["label"])[0]["train"], "train")
    assert source.names["label"] == ("n1", "n2") and len(source) == 3
    image(tmp_path / "val/images/v.jpg")
    with pytest.raises(DataError, match="val has images, but not in class folders as .*train has them; move each into"):
        detect(tmp_path, ["label"])


@pytest.mark.parametrize(
    "names",
    [
        ("bounding_box_train", "bounding_box_test", "query"),
        ("ISIC_Task3_Training_Input", "ISIC_Task3_Validation_Input"),
        ("x-train", "x-val"),
    ],
)
def test_folders_with_the_words_of_splits_are_no_classes(tmp_path, names):
    for name in names:
        image(tmp_path / name / "a.jpg")
    with pytest.raises(DataError, match="no source recognizes"):
        detect(tmp_path, ["label"])


def test_masks_beside_images_and_unlabeled_images_belong_to_no_class(tmp_path):
    for name in (
        "benign/a (1).png",
        "benign/a (1)_mask.png",
        "benign/a (1)_mask_1.png",
        "normal/b.png",
        "normal/x_mask.png",
    ):
        image(tmp_path / name)
    image(tmp_path / "_unlabeled/c.png")
    source = Folder(str(tmp_path))
    assert source.names["label"] == ("benign", "normal") and len(source) == 3
    assert source.report.count("mask beside its image, not used") == 2
    assert source.report.count("folder of images without a class, not used") == 1


def test_splits_in_folders_of_classes_are_explained(tmp_path):
    for name in ("cat/train/a.jpg", "cat/val/b.jpg", "dog/train/c.jpg", "dog/val/d.jpg"):
        image(tmp_path / name)
    with pytest.raises(DataError, match="holds splits in folders of classes, such as cat/train; .* as train/cat"):
        detect(tmp_path, ["label"])


def test_splits_in_the_only_folder_are_no_classes(tmp_path):
    for name in ("set/train/a.jpg", "set/val/b.jpg"):
        image(tmp_path / name)
    with pytest.raises(DataError) as caught:
        detect(tmp_path, ["label"])
    assert "1 images lie in " in str(caught.value) and "folders of classes" not in str(caught.value)


def test_one_folder_with_the_word_of_a_split_is_a_class(tmp_path):
    for name in ("bullet train", "bus"):
        image(tmp_path / name / "a.jpg")
    assert detect(tmp_path, ["label"])[0]["train"] == {"source": "folder", "root": str(tmp_path)}


def test_a_table_that_contradicts_the_folders_gives_the_classes(tmp_path):
    root, rows = tmp_path / "set", ["image_id,dx,age"]
    for number in range(6):
        image(root / f"part_{number // 3}/{number}x.jpg")
        rows.append(f"{number}x,{('nv', 'mel')[number % 2]},80")
    (root / "metadata.csv").write_text("\n".join(rows))
    splits, said = detect(root, ["label"])
    assert load_source(splits["train"], "train").names["label"] == ("mel", "nv")
    reason = "not as folder: metadata.csv gives 2 of 6 images another class than their folder, such as part_0/1x.jpg"
    assert f"read as csv, without a validation set ({reason}, so its column dx is learned)." in said
    assert reason in detect(tmp_path, ["label"])[1]  # also where it is entered
    (root / "metadata.csv").write_text("image_id,dx\n" + "".join(f"{n}x,{'ab'[n // 3]}\n" for n in range(6)))
    assert detect(root, ["label"])[0]["train"]["source"] == "folder"  # it says what the folders say


@pytest.mark.parametrize("split", ["", "train"])
def test_what_a_table_says_of_few_images_otherwise_is_counted(tmp_path, split):
    rows = ["file,label"]
    for number in range(24):
        image(tmp_path / split / f"{'ab'[number // 12]}/{number}.jpg")
        rows.append(f"{number}.jpg,{'xy'[number // 12 if number != 3 else 1]}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    splits, said = detect(tmp_path, ["label"])
    assert "read as folder" in said
    source = load_source(splits["train"], "train")
    what = "image to which labels.csv gives another class than its folder, which is learned"
    assert source.report.items() == [(what, [str(tmp_path / split / "a/3.jpg")], False)]


def test_a_table_that_names_each_image_contradicts_no_folder(tmp_path):
    rows = ["file,label"]
    for number in range(4):
        image(tmp_path / f"{'ab'[number // 2]}/{number}.jpg")
        rows.append(f"{number}.jpg,image {number}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    splits, said = detect(tmp_path, ["label"])
    assert "read as folder" in said and "not as" not in said
    assert not load_source(splits["train"], "train").report


def test_folders_of_numbers_are_in_the_order_of_their_values(tmp_path):
    for name in ("10", "9", "1"):
        image(tmp_path / name / "a.jpg")
    assert Folder(str(tmp_path)).names["label"] == ("1", "9", "10")


@pytest.mark.parametrize("root", ["", "train", "flowers/train"])
@pytest.mark.parametrize("name", ["cat_to_name.json", "classes.json"])
def test_folders_of_ids_get_the_names_in_a_list(tmp_path, root, name):
    for number in ("10", "2"):
        image(tmp_path / root / number / "a.jpg")
    (tmp_path / name).write_text('{"2": "rose", "10": "aster", "11": "lily"}')
    source = Folder(str(tmp_path / root))
    assert source.names["label"] == ("rose", "aster") and source[0].id == "2/a.jpg" and source[1].label == 1
    assert source.report.count("class ids, named by the list of classes beside them") == 1
    assert Folder(str(tmp_path / root), names=["10", "2"]).names["label"] == ("10", "2")


def test_a_list_that_lacks_a_folder_of_an_id_is_said_and_not_used(tmp_path):
    for number in ("10", "2"):
        image(tmp_path / number / "a.jpg")
    (tmp_path / "cat_to_name.json").write_text('{"2": "rose", "11": "lily"}')
    source = Folder(str(tmp_path))
    assert source.names["label"] == ("2", "10")
    assert source.report.count("list of classes that does not give each class id one name of its own, not used") == 1


def test_a_folder_that_only_the_validation_set_has(tmp_path):
    for name in ("train/cat", "train/dog", "val/cat", "val/bee"):
        image(tmp_path / name / "a.jpg")
    train, val = load_sources(tmp_path, ["label"], 0.2, 0)
    assert train.names == val.names == {"label": ("bee", "cat", "dog")}
    assert train.report.count("class that only the validation set has, so it is not learned") == 1
