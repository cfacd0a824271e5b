"""Where data sets have their images and masks."""

import numpy as np
import pytest
from PIL import Image

from visiontasks.data.detect import detect
from visiontasks.data.sources.masks import Masks
from visiontasks.errors import DataError


def draw(root, *names, mask=False):
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.resize(np.array([0, 1], np.uint8), (6, 8)) if mask else np.full((6, 8, 3), 50 + number, np.uint8)
        Image.fromarray(pixels).save(path)


def read(root):
    """{split: [(image, mask)]} and the sources of what is recognized."""
    splits, message = detect(root, ["mask"])
    assert splits["train"]["source"] == "masks", message
    sources = {}
    for split, arguments in splits.items():
        if arguments is not None:
            sources[split] = Masks(**{key: value for key, value in arguments.items() if key != "source"})
    pairs = {
        split: [tuple(path.relative_to(root.resolve()).as_posix() for path in item) for item in source.items]
        for split, source in sources.items()
    }
    return pairs, sources


LAYOUTS = {
    "beside, Roboflow": ("{s}/{n}_jpg.rf.1.jpg", "{s}/{n}_jpg.rf.1_mask.png"),
    "MMSegmentation": ("img_dir/{s}/{n}.jpg", "ann_dir/{s}/{n}_labelTrainIds.png"),
    "ADE20K": ("images/{s}/{n}.jpg", "annotations/{s}/{n}.png"),
    "SegNet's CamVid": ("{s}/{n}.png", "{s}annot/{n}.png"),
    "Kaggle's CamVid": ("{s}/{n}.png", "{s}_labels/{n}_L.png"),
    "keras-segmentation": ("images_prepped_{s}/{n}.png", "annotations_prepped_{s}/{n}.png"),
    "Cityscapes": ("leftImg8bit/{s}/ulm/{n}_leftImg8bit.png", "gtFine/{s}/ulm/{n}_gtFine_labelIds.png"),
    "folders of splits": ("{s}/images/image_{n}.jpg", "{s}/masks/mask_{n}.png"),
    "split before kind": ("{s}_images/{n}.jpg", "{s}_masks/{n}.png"),
    "ground truth": ("{s}/Original/{n}.tif", "{s}/Ground Truth/{n}.tif"),
    "common ends of their own": ("{s}/images/{n}-photo.jpg", "{s}/labels/{n}-drawn.png"),
    "an end on both": ("{s}/images/{n}_image.jpg", "{s}/masks/{n}_image_mask.png"),
    "COCO-Stuff": ("{s}2017/{n}.jpg", "stuffthingmaps/{s}2017/{n}.png"),
    "BDD100K": ("bdd100k/images/10k/{s}/{n}.jpg", "bdd100k/labels/sem_seg/masks/{s}/{n}.png"),
    "letter case": ("{s}/images/IMG {n}.jpg", "{s}/masks/img {n}-Mask.png"),
}


@pytest.mark.parametrize("val", ["val", "valid", "test"])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_layouts_with_splits(tmp_path, layout, val):
    image, mask = layout
    for split in ("train", val):
        draw(tmp_path, *(image.format(s=split, n=n) for n in ("a_1", "b_2", "c_3")))
        draw(tmp_path, *(mask.format(s=split, n=n) for n in ("a_1", "b_2", "c_3")), mask=True)
    pairs, sources = read(tmp_path)
    for name, split in (("train", "train"), ("val", val)):
        expected = [(image.format(s=split, n=n), mask.format(s=split, n=n)) for n in ("a_1", "b_2", "c_3")]
        assert pairs[name] == expected
        assert sources[name].report.count("mask without an image, skipped") == 0


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/{}.jpg", "masks/{}_segmentation.png"),  # ISIC
        ("images/{}.jpg", "annotations/trimaps/{}.png"),  # Oxford Pets
        ("train/{}.jpg", "train_masks/{}_mask.gif"),  # Carvana
        ("images/{}.png", "labels/{}_L.png"),  # CamVid
        ("original_images/{}.jpg", "label_images_semantic/{}.png"),
        ("patients/{}/slice.tif", "patients/{}/slice_mask.tif"),  # LGG
        ("{}.jpg", "{}-mask.png"),
        ("{}_sat.jpg", "{}_mask.png"),  # DeepGlobe
        ("image_{}.jpg", "mask_{}.png"),
        ("{}.jpg", "masks/{}.png"),
        ("JPEGImages/{}.jpg", "SegmentationClassPNG/{}.png"),  # labelme
    ],
)
def test_layouts_without_splits(tmp_path, image, mask):
    draw(tmp_path, *(image.format(n) for n in ("a_1", "b_2", "c_3")))
    draw(tmp_path, *(mask.format(n) for n in ("a_1", "b_2", "c_3")), mask=True)
    pairs, sources = read(tmp_path)
    assert pairs == {"train": [(image.format(n), mask.format(n)) for n in ("a_1", "b_2", "c_3")]}
    assert sources["train"].report.count("image without a mask, skipped") == 0


def test_one_folder_of_masks_for_all_splits(tmp_path):
    draw(tmp_path, "images/train/a.jpg", "images/train/b.jpg", "images/val/c.jpg", "images/test/d.jpg")
    draw(tmp_path, "masks/a.png", "masks/b.png", "masks/c.png", mask=True)
    pairs, _ = read(tmp_path)
    assert [image for image, _ in pairs["train"]] == ["images/train/a.jpg", "images/train/b.jpg"]
    assert pairs["val"] == [("images/val/c.jpg", "masks/c.png")]


def test_lists_of_voc_are_the_splits(tmp_path):
    draw(tmp_path, *(f"JPEGImages/2020_00000{n}.jpg" for n in range(6)))
    draw(tmp_path, *(f"SegmentationClass/2020_00000{n}.png" for n in range(4)), mask=True)
    draw(tmp_path, *(f"SegmentationObject/2020_00000{n}.png" for n in range(4)), mask=True)
    lists = tmp_path / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2020_000000\n2020_000002\n2020_000009\n\n")
    (lists / "val.txt").write_text("2020_000003\n")
    (lists / "trainval.txt").write_text("2020_000000\n2020_000002\n2020_000003\n")
    pairs, sources = read(tmp_path)
    assert [image for image, _ in pairs["train"]] == ["JPEGImages/2020_000000.jpg", "JPEGImages/2020_000002.jpg"]
    assert pairs["val"] == [("JPEGImages/2020_000003.jpg", "SegmentationClass/2020_000003.png")]
    assert str(sources["train"].report) == "1 × image of the list missing, skipped: 2020_000009"


def test_folders_that_are_alone_are_entered(tmp_path):
    home = tmp_path / "VOCdevkit/VOC2012"
    draw(home, "JPEGImages/a.jpg", "JPEGImages/b.jpg")
    draw(home, "SegmentationClass/a.png", "SegmentationClass/b.png", mask=True)
    (home / "ImageSets/Segmentation").mkdir(parents=True)
    for split, name in (("train", "a"), ("val", "b")):
        (home / f"ImageSets/Segmentation/{split}.txt").write_text(name)
    pairs, _ = read(tmp_path)
    assert pairs["val"] == [("VOCdevkit/VOC2012/JPEGImages/b.jpg", "VOCdevkit/VOC2012/SegmentationClass/b.png")]


def test_masks_of_numbers_go_before_the_same_in_colors(tmp_path):
    draw(tmp_path, "original_images/1.jpg", "original_images/2.jpg")
    draw(tmp_path, "RGB_color_image_masks/1.png", "RGB_color_image_masks/2.png")
    draw(tmp_path, "label_images_semantic/1.png", "label_images_semantic/2.png", mask=True)
    pairs, _ = read(tmp_path)
    assert pairs["train"][0] == ("original_images/1.jpg", "label_images_semantic/1.png")


def test_a_list_alone_is_no_split(tmp_path):
    """CVAT writes one list, default.txt."""
    draw(tmp_path, "JPEGImages/a.jpg", "JPEGImages/b.jpg")
    draw(tmp_path, "SegmentationClass/a.png", "SegmentationClass/b.png", mask=True)
    (tmp_path / "ImageSets/Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets/Segmentation/default.txt").write_text("a\nb\n")
    pairs, _ = read(tmp_path)
    assert len(pairs["train"]) == 2 and "val" not in pairs
    for text in ("x\ny\n", ""):
        file = tmp_path / "list.txt"
        file.write_text(text)
        with pytest.raises(DataError, match="no pair"):
            Masks(str(tmp_path / "JPEGImages"), str(tmp_path / "SegmentationClass"), list=str(file))
    with pytest.raises(DataError, match="list: expected a text file of image names"):
        Masks(str(tmp_path / "JPEGImages"), str(tmp_path / "SegmentationClass"), list=str(tmp_path / "gone.txt"))


def test_labels_for_other_tasks_are_not_used(tmp_path):
    for name in ("a", "b"):
        draw(tmp_path, f"leftImg8bit/train/ulm/{name}_leftImg8bit.png")
        kinds = ("labelIds", "instanceIds", "labelTrainIds", "color")
        draw(tmp_path, *(f"gtFine/train/ulm/{name}_gtFine_{kind}.png" for kind in kinds), mask=True)
        (tmp_path / f"gtFine/train/ulm/{name}_gtFine_polygons.json").write_text("{}")
    pairs, sources = read(tmp_path)
    assert {mask[-17:] for _, mask in pairs["train"]} == {"labelTrainIds.png"}
    report = sources["train"].report
    assert report.count("image of instances, colors for people or a second annotator, beside the masks") == 4
    assert report.count("mask without an image, skipped") == 2  # the labelIds


@pytest.mark.parametrize("manual", ["1st_manual", "manual1"])
def test_a_field_of_view_is_no_mask_where_there_is_a_drawing(tmp_path, manual):
    for split, stem in (("training", "2{}_training"), ("test", "0{}_test")):
        draw(tmp_path, *(f"{split}/images/{stem.format(n)}.tif" for n in (1, 2)))
        draw(tmp_path, *(f"{split}/mask/{stem.format(n)}_mask.gif" for n in (1, 2)), mask=True)
        draw(tmp_path, *(f"{split}/{manual}/{stem.format(n)[:2]}_manual1.gif" for n in (1, 2)), mask=True)
    pairs, sources = read(tmp_path)
    assert pairs["train"][0] == ("training/images/21_training.tif", f"training/{manual}/21_manual1.gif")
    assert pairs["val"][1] == ("test/images/02_test.tif", f"test/{manual}/02_manual1.gif")
    what = "other folder that could be the masks (choose it with masks=)"
    assert sources["train"].report.count(what) == 1 and str(sources["train"].report).endswith("training/mask")


def test_an_official_test_set_without_drawings_is_no_validation_set(tmp_path):
    draw(tmp_path, "training/images/21_training.tif", "training/images/22_training.tif", "test/images/01_test.tif")
    draw(tmp_path, "training/1st_manual/21_manual1.gif", "training/1st_manual/22_manual1.gif", mask=True)
    draw(tmp_path, "training/mask/21_training_mask.gif", "training/mask/22_training_mask.gif", mask=True)
    draw(tmp_path, "test/mask/01_test_mask.gif", mask=True)
    pairs, _ = read(tmp_path)
    assert pairs == {
        "train": [
            ("training/images/21_training.tif", "training/1st_manual/21_manual1.gif"),
            ("training/images/22_training.tif", "training/1st_manual/22_manual1.gif"),
        ]
    }


def test_images_that_people_look_at_are_no_masks(tmp_path):
    draw(tmp_path, "JPEGImages/a.jpg", "JPEGImages/b.jpg")
    draw(tmp_path, "SegmentationClassVisualization/a.jpg", "SegmentationClassVisualization/b.jpg")
    draw(tmp_path, "SegmentationClass/a.png", "SegmentationClass/b.png", mask=True)
    pairs, _ = read(tmp_path)
    assert pairs["train"][0] == ("JPEGImages/a.jpg", "SegmentationClass/a.png")


def test_a_name_of_a_folder_alone_is_no_claim(tmp_path):
    draw(tmp_path, "images/a.jpg", "images/b.jpg")
    draw(tmp_path, "masks/x.png", "masks/y.png", mask=True)
    with pytest.raises(DataError, match=r"masks: .*masks has 0 masks with the names of images in .*a\.jpg, x\.png"):
        detect(tmp_path, ["mask"])


def test_one_file_an_object_is_for_instances(tmp_path):
    for name in ("0a", "1b"):
        draw(tmp_path, f"stage1_train/{name}/images/{name}.png")
        draw(tmp_path, f"stage1_train/{name}/masks/{name}.png", f"stage1_train/{name}/masks/f{name}.png", mask=True)
    splits, message = detect(tmp_path, ["mask"])
    assert splits["train"]["source"] == "instances" and "read as instances" in message


def test_class_folders_are_not_masks(tmp_path):
    draw(tmp_path, *(f"{split}/{kind}/{n}.jpg" for split in ("train", "val") for kind in ("cat", "dog") for n in "ab"))
    assert detect(tmp_path, ["mask"])[0]["train"]["source"] == "folder"


@pytest.mark.parametrize("names", [("x", "y"), ("x_train", "y_train"), ("rooms", "outlines"), ("images", "semantic")])
def test_folders_whose_names_say_nothing(tmp_path, names):
    rng = np.random.default_rng(0)
    for number in range(4):
        draw(tmp_path, f"{names[1]}/{number}.png", mask=True)
        (tmp_path / names[0]).mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).save(tmp_path / names[0] / f"{number}.png")
    pairs, _ = read(tmp_path)
    assert pairs["train"] == [(f"{names[0]}/{n}.png", f"{names[1]}/{n}.png") for n in range(4)]


def test_class_folders_of_photographs_with_the_same_file_names_are_no_masks(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        for number in range(4):
            Image.fromarray(rng.integers(0, 256, (6, 8), np.uint8)).save(tmp_path / name / f"{number}.png")
    assert detect(tmp_path, ["mask"])[0]["train"]["source"] == "folder"


def test_names_without_a_mark_before_the_number(tmp_path):
    draw(tmp_path, "image1.png", "image12.png")
    draw(tmp_path, "mask1.png", "mask12.png", mask=True)
    assert read(tmp_path)[0]["train"] == [("image1.png", "mask1.png"), ("image12.png", "mask12.png")]


def test_masks_of_numbers_are_preferred_to_those_for_people(tmp_path):
    draw(tmp_path, *(f"ds/img/{n}.jpg" for n in "ab"))
    for folder in ("masks_human", "masks_machine"):
        draw(tmp_path, *(f"ds/{folder}/{n}.png" for n in "ab"), mask=True)
    pairs, sources = read(tmp_path)
    assert pairs["train"][0] == ("ds/img/a.jpg", "ds/masks_machine/a.png")
    assert "masks_human" in str(sources["train"].report)


def test_masks_of_another_split_are_no_other_masks(tmp_path):
    for split in ("train", "val"):
        draw(tmp_path, *(f"images/{split}_images/{n}_{split}.jpg" for n in "ab"))
        draw(tmp_path, *(f"annotations/{split}_segmentations/{n}_{split}.png" for n in "ab"), mask=True)
    _, sources = read(tmp_path)
    assert not sources["train"].report and not sources["val"].report


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (["masks/a.npy", "masks/b.npy"], "masks has 2 files that are no images, such as a.npy; write the masks as PNG"),
        (["gtFine/ulm/a_gtFine_color.png"], "gtFine has images of instances, or of colors for people, such as a_gt"),
    ],
)
def test_folders_of_masks_without_masks_of_classes(tmp_path, files, reason):
    draw(tmp_path, "images/a.png", "images/b.png")
    for file in files:
        if file.endswith(".npy"):
            (tmp_path / file).parent.mkdir(exist_ok=True)
            np.save(tmp_path / file, np.zeros((6, 8)))
        else:
            draw(tmp_path, file, mask=True)
    with pytest.raises(DataError, match=reason):
        detect(tmp_path, ["mask"])


def test_splits_of_several_data_sets(tmp_path):
    for place in ("Rural", "Urban"):
        draw(tmp_path, f"Train/{place}/images_png/1.png", f"Val/{place}/images_png/2.png")
        draw(tmp_path, f"Train/{place}/masks_png/1.png", f"Val/{place}/masks_png/2.png", mask=True)
    with pytest.raises(DataError, match="Several folders in it are data sets of their own; give one: .*Train/Rural"):
        detect(tmp_path, ["mask"])


def test_run_lengths_in_a_table_are_named(tmp_path):
    draw(tmp_path, "train_images/a.jpg", "train_images/b.jpg")
    (tmp_path / "train.csv").write_text("ImageId,EncodedPixels,ClassId\na.jpg,1 5,1\nb.jpg,2 5,2\n")
    with pytest.raises(DataError, match="train.csv: run lengths in a CSV is not read; convert them to masks"):
        detect(tmp_path, ["mask"])


def test_masks_below_a_folder_of_their_own(tmp_path):
    for split in ("training", "validation"):
        draw(tmp_path, f"{split}/images/{split}.jpg")
        draw(tmp_path, f"{split}/v2.0/labels/{split}.png", f"{split}/v2.0/instances/{split}.png", mask=True)
    pairs, _ = read(tmp_path)
    assert pairs["val"] == [("validation/images/validation.jpg", "validation/v2.0/labels/validation.png")]


def test_masks_without_images_say_so(tmp_path):
    draw(tmp_path, "SegmentationClass/a.png", "SegmentationObject/a.png", mask=True)
    with pytest.raises(DataError, match="SegmentationClass has masks, but there are no images in .*export with images"):
        detect(tmp_path, ["mask"])
