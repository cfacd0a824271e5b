"""COCO's JSON: what its files may hold, and what is done about it."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from visiontasks.data.detect import detect
from visiontasks.data.images import write_image
from visiontasks.data.load import load_data
from visiontasks.data.sources.coco import Coco
from visiontasks.errors import BadImage, DataError
from visiontasks.instance_masks import NO_MASK, InstanceMasks
from visiontasks.sample import VOID

SHARED = Path(__file__).resolve().parents[2] / "../shared/data"
CATEGORIES = [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}]
HEIGHT, WIDTH = 20, 30
CROWD = "object of iscrowd 1, ignored as a crowd (crowd=objects learns it)"
SQUARE = [2.0, 3.0, 12.0, 3.0, 12.0, 13.0, 2.0, 13.0]


def entry(**changes):
    return {"id": 1, "image_id": 1, "category_id": 3, "bbox": [2, 3, 10, 10], "area": 100.0, "iscrowd": 0, **changes}


def listed(count=1, **changes):
    return [
        {"id": n, "file_name": f"{n}.png", "height": HEIGHT, "width": WIDTH, **changes} for n in range(1, count + 1)
    ]


def write(root, annotations, images=None, categories=CATEGORIES, name="annotations/instances_train.json"):
    images = listed() if images is None else images
    (root / "images").mkdir(exist_ok=True)
    for number in range(1, len(images) + 1):
        write_image(root / f"images/{number}.png", np.full((HEIGHT, WIDTH, 3), number, np.uint8))
    path = root / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return str(path)


def coco(root, *annotations, images=None, categories=CATEGORIES, **arguments):
    return Coco(write(root, list(annotations), images, categories), **arguments)


def test_item_95_an_image_that_shrinks_after_the_check_is_skipped(tmp_path):
    source = coco(tmp_path, entry(segmentation=[SQUARE]), entry(id=2, image_id=2), images=listed(2))
    write_image(tmp_path / "images/1.png", np.zeros((5, 6, 3), np.uint8))
    with pytest.raises(BadImage, match=r"1\.png: image that has changed since it was checked: boxes"):
        source[0]
    assert len(source[1].boxes) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", r"instances_train\.json is named as a COCO file, but has nothing in it"),
        ("{}", r"instances_train\.json is named as a COCO file, but has none of the lists"),
        ('{"images": [], "annotations": [], "categories": []}', r"instances_train\.json lists no image"),
    ],
)
def test_an_empty_file_is_named(text, says, tmp_path):
    Path(write(tmp_path, [])).write_text(text)
    with pytest.raises(DataError, match=says):
        load_data(str(tmp_path))


@pytest.mark.parametrize("wrong", ["2\x07", "2\\q"])
def test_a_file_name_that_is_no_json_is_an_error_of_the_file(wrong, tmp_path):
    path = Path(write(tmp_path, [entry()], listed(2)))
    path.write_text(path.read_text().replace("2.png", f"{wrong}.png"))
    with pytest.raises(DataError, match=r"instances_train\.json: expected JSON, got something else"):
        load_data(str(tmp_path))


def test_a_sample_carries_every_label(tmp_path):
    source = coco(
        tmp_path,
        entry(segmentation=[SQUARE]),
        entry(id=2, category_id=7, bbox=[0, 0, 30, 20], area=5.0, segmentation=[[0, 0, 30, 0, 30, 20, 0, 20]]),
        entry(id=3, iscrowd=1, area=400.0, segmentation={"size": [HEIGHT, WIDTH], "counts": [100, 300, 200]}),
    )
    sample = source[0]
    assert source.fields == {"boxes", "classes", "tags", "label", "instance_masks", "mask"}
    assert sample.boxes.tolist() == [[2, 3, 12, 13], [0, 0, 30, 20], [2, 3, 12, 13]]
    assert sample.classes.tolist() == [0, 1, 0] and sample.ignored.tolist() == [False, False, True]
    assert sample.areas.tolist() == [100, 5, 400] and sample.tags.tolist() == [1, 1]
    assert sample.label == 0  # the largest by annotated area that is not ignored
    assert (sample.id, sample.path) == ("1.png", str(tmp_path / "images/1.png"))
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[3:13, 2:12] = 1
    np.testing.assert_array_equal(sample.instance_masks[0], expected[None])
    assert np.asarray(sample.instance_masks[1]).all()
    columns = np.zeros(600, np.uint8)
    columns[100:400] = 1  # run lengths go down the columns
    np.testing.assert_array_equal(sample.instance_masks[2], [columns.reshape(WIDTH, HEIGHT).T])


def test_masks_are_decoded_only_for_a_batch_that_has_them(tmp_path):
    source = coco(tmp_path, entry(segmentation=[SQUARE]))
    assert source.read(0, ("boxes",)).instance_masks is None
    assert source.read(0, ("instance_masks",)).instance_masks.areas() == [100] == source[0].instance_masks.areas()


def test_item_17_gaps_in_the_ids_close_and_the_ids_are_kept(tmp_path):
    source = coco(tmp_path, entry(category_id=90), categories=[{"id": n, "name": f"n{n}"} for n in (90, 0, 5)])
    assert source.names["classes"] == source.names["tags"] == source.names["label"] == ("n0", "n5", "n90")
    assert source.category_ids == (0, 5, 90) and source[0].classes.tolist() == [2]
    assert source.image_ids == [1]


def test_results_carry_the_file_s_own_ids(tmp_path):
    images = [{**one, "id": 70 + n} for n, one in enumerate(listed(2))]
    source = coco(tmp_path, entry(image_id=71), images=images, names=["bird", "cat", "dog"])
    result = {"boxes": np.float32([[1, 2, 5, 9], [0, 0, 3, 3]]), "scores": np.float32([0.5, 0.25])}
    (first,) = source.results(source[1], {**result, "classes": np.int32([2, 0])})  # the file has no bird
    assert first == {"image_id": 71, "category_id": 3, "bbox": [1, 2, 4, 7], "score": 0.5}
    masks = InstanceMasks.of(np.ones((2, HEIGHT, WIDTH), np.uint8))
    (first,) = source.results(source[1], {**result, "classes": np.int32([2, 0]), "masks": masks})
    assert json.loads(json.dumps(first))["segmentation"] == {"size": [HEIGHT, WIDTH], "counts": masks.text(0)["counts"]}


def test_names_fix_the_order_and_an_unnamed_class_is_an_error(tmp_path):
    source = coco(tmp_path, entry(), names=["emu", "dog"])
    assert source[0].classes.tolist() == [1] and source.category_ids == (-1, 3)
    assert source[0].known.tolist() == [False, True] and source[0].tags.tolist() == [-1, 1]
    assert coco(tmp_path, entry(), names=["cat", "dog"])[0].known is None  # all, cats too, of which there is none
    with pytest.raises(DataError, match=r"annotation 1: expected a category among names \(cat\), got 'dog'"):
        coco(tmp_path, entry(), names=["cat"])
    with pytest.raises(DataError, match=r"annotation 1: expected a category id among \[3, 7\], got 4"):
        coco(tmp_path, entry(category_id=4))


def test_a_name_that_stands_twice_counts_once_where_objects_have_one_of_them(tmp_path):
    """Roboflow exports a set of one class with its name as the super-category's, too."""
    twice = [{"id": 0, "name": "cell", "supercategory": "none"}, {"id": 1, "name": "cell", "supercategory": "cell"}]
    source = coco(tmp_path, entry(category_id=1), categories=twice)
    assert source.names["classes"] == ("cell",) and source.category_ids == (1,)
    assert source.report.count("second category of the same name, left out because no object has it") == 1
    with pytest.raises(DataError, match="expected categories with unique names"):
        coco(tmp_path, entry(category_id=1), entry(id=2, category_id=0), categories=twice)


def test_item_18_an_annotation_of_id_0_counts_as_any_other(tmp_path):
    source = coco(tmp_path, entry(id=0), entry(id=1, bbox=[0, 0, 5, 5]))
    assert len(source[0].boxes) == 2


@pytest.mark.parametrize(
    ("annotations", "images", "categories", "text"),
    [
        ([entry(), entry()], None, CATEGORIES, "unique integer id for each annotation, got 1 twice"),
        ([entry(id=[1])], None, CATEGORIES, r"unique integer id for each annotation, got \[1\]"),
        ([entry()], listed(id=[]), CATEGORIES, r"unique integer id for each image, got \[\]"),
        ([entry(bbox=[0, 0, 10**400, 3])], None, CATEGORIES, "annotations of image 1: .*too large"),
        ([entry(area=10**400)], None, CATEGORIES, "annotations of image 1: .*too large"),
        ([entry(segmentation=[[10**400] * 6])], None, CATEGORIES, "annotations of image 1: .*too large"),
        ([entry()], None, [{"id": 3, "name": "x", "keypoints": 7}], "a list of names as a category's keypoints"),
        ([entry(id=1.5)], None, CATEGORIES, "unique integer id for each annotation, got 1.5"),
        ([entry(image_id=[1])], None, CATEGORIES, "annotation 1: expected image_id and category_id that are integers"),
        (
            [entry(category_id=None)],
            None,
            CATEGORIES,
            "annotation 1: expected image_id and category_id that are integers",
        ),
        ([entry(image_id=1.0)], None, CATEGORIES, "annotation 1: expected image_id and category_id that are integers"),
        ([entry()], listed() + listed(), CATEGORIES, "unique integer id for each image, got 1 twice"),
        ([entry()], listed(id=1.0), CATEGORIES, "unique integer id for each image, got 1.0"),
        ([entry()], None, CATEGORIES * 2, "unique integer id for each category, got 7 twice"),
        ([entry(category_id=[3])], None, CATEGORIES, "expected image_id and category_id that are integers"),
        (
            [entry(), entry(id=2, category_id=4)],
            None,
            [{"id": 3, "name": "x"}, {"id": 4, "name": "x"}],
            "expected categories with unique names",
        ),
    ],
)
def test_item_19_double_and_broken_ids_and_numbers(tmp_path, annotations, images, categories, text):
    with pytest.raises(DataError, match=text):
        coco(tmp_path, *annotations, images=images, categories=categories)


def test_an_image_under_two_ids_would_be_background_of_the_other(tmp_path):
    twice = listed(2, file_name="1.png")
    with pytest.raises(DataError, match=r"each image once, got .*1\.png as image 1 and 2; .*give them one image_id"):
        coco(tmp_path, entry(), entry(id=2, image_id=2), images=twice)


def test_items_20_to_22_missing_unknown_and_empty_images(tmp_path):
    path = write(tmp_path, [entry(), entry(id=2, image_id=99), entry(id=3, image_id=2)], listed(3))
    (tmp_path / "images/2.png").unlink()
    source = Coco(path)
    assert [source[n].id for n in range(len(source))] == ["1.png", "3.png"] and source.image_ids == [1, 3]
    assert source.report.count("image missing, skipped") == 1
    assert source.report.count("annotation of an image that the file does not list, skipped") == 1
    background = source[1]
    assert background.boxes.shape == (0, 4) and background.classes.shape == background.ignored.shape == (0,)
    assert background.label == -1 and background.tags.tolist() == [0, 0]


def test_item_23_an_image_of_another_size_is_an_error_with_both(tmp_path):
    with pytest.raises(DataError, match=r"1\.png its height and width \(20, 30\), got \(30, 20\), which .*EXIF"):
        coco(tmp_path, entry(), images=listed(height=WIDTH, width=HEIGHT))
    with pytest.raises(DataError, match=r"expected for .*1\.png its height and width \(20, 30\), got \(40, 60\); the"):
        coco(tmp_path, entry(), images=listed(height=40, width=60))
    source = coco(tmp_path, entry(), images=[{"id": 1, "file_name": "1.png"}])
    assert len(source) == 1 and "annotations without the image's height and width" in str(source.report)


@pytest.mark.parametrize(
    ("box", "kept", "message"),
    [
        ([2, 3, 0, 5], None, "box without extent, skipped"),
        ([2, 3, 4, -5], None, "box without extent, skipped"),
        ([5, 5, 40, 5], [5, 5, 30, 10], "box that exceeds its image, clipped"),
        ([-7, 5, 10, 5], [0, 5, 3, 10], "box that exceeds its image, clipped"),
        ([10, 5, 20.0006, 5], [10, 5, 30, 10], None),
        ([40, 5, 10, 5], None, "box outside of its image, skipped"),
        ([float("nan"), 5, 10, 5], None, "box of NaN or infinity, skipped"),
        ([0, 5, float("inf"), 5], None, "box of NaN or infinity, skipped"),
    ],
    ids=["24 zero", "24 negative", "25 right", "25 left", "26", "outside", "27 nan", "27 inf"],
)
def test_items_24_to_27_boxes(tmp_path, box, kept, message):
    source = coco(tmp_path, entry(id=1), entry(id=2, bbox=box, area=None))
    assert source[0].boxes.tolist() == [[2, 3, 12, 13]] + ([kept] if kept else [])
    assert str(source.report) == (f"1 × {message}: {source.path}, annotation 2" if message else "")


def test_item_28_polygons_of_fewer_than_three_points(tmp_path):
    nan = [float("nan")] * 6
    source = coco(
        tmp_path, entry(segmentation=[[1, 1, 5, 5], SQUARE, nan, [1, 1]]), entry(id=2, segmentation=[[1, 1, 5, 5]])
    )
    assert len(source[0].boxes) == 1 and source[0].instance_masks.areas() == [100]
    assert source.report.count("polygon of fewer than 3 points, object skipped") == 1
    assert source.report.count("polygon of fewer than 3 points, left out of its object") == 2
    assert source.report.count("polygon of NaN or infinity, left out of its object") == 1


@pytest.mark.parametrize("far", [1e9, 1e300])
@pytest.mark.parametrize("area", [100.0, None])
def test_a_coordinate_far_outside_of_the_image_kills_no_process(tmp_path, far, area):
    around, away = [0, 0, far, 0, far, far], [far, far, 2 * far, far, 2 * far, 2 * far]
    near = [0, 0, 200, 0, 200, 200]  # the same half of the image
    objects = [entry(id=n, segmentation=[polygon], area=area) for n, polygon in enumerate((around, away, near))]
    source = coco(tmp_path, *objects)
    masks = source[0].instance_masks
    assert masks.known.tolist() == [True, False, True]
    assert abs(masks.areas()[0] - masks.areas()[2]) <= HEIGHT  # a pixel of each row, where the edge crosses it
    assert source.report.count("polygon that reaches far out of its image, cut to it") == 2
    assert source.report.count("segmentation without a pixel in its image: of the object only the box is learned") == 1
    beside = coco(tmp_path, entry(segmentation=[[0, 0, -far, 0, -far, -far]], area=area))
    assert beside[0].instance_masks is None and len(beside[0].boxes) == 1


@pytest.mark.parametrize(
    ("segmentation", "text"),
    [
        (SQUARE, r"annotation 1: expected a segmentation of polygons \[\[x1.*got \[2.0, 3.0"),
        ([2, 3, 10, 10], "annotation 1: expected a segmentation of polygons"),
        ([[2, 3, 10, 10]], "expected a polygon of three points or more, got the four numbers of the box"),
        ([SQUARE[:7]], "expected a polygon of pairs of numbers x, y, got 7 values"),
        ([["a"] * 6], "expected a polygon of pairs of numbers"),
        ("text", "expected a segmentation of polygons"),
        ({"size": [HEIGHT, WIDTH], "counts": [1, 2]}, "add up to 20 × 30"),
        ({"size": [HEIGHT, WIDTH], "counts": [700, -100]}, "add up to 20 × 30"),
        ({"size": [HEIGHT, WIDTH], "counts": "garbage"}, "add up to 20 × 30"),
        ({"size": [WIDTH, HEIGHT], "counts": [600]}, r"size \[height, width\] \[20, 30\], got \[30, 20\]"),
    ],
)
def test_item_29_segmentations_that_are_none(tmp_path, segmentation, text):
    with pytest.raises(DataError, match=text):
        coco(tmp_path, entry(segmentation=segmentation))


def test_item_30_run_lengths_as_numbers_and_as_text(tmp_path):
    from pycocotools import mask as coco_mask

    drawn = np.random.default_rng(0).integers(0, 2, (HEIGHT, WIDTH)).astype(np.uint8)
    flat = drawn.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *edges, flat.size]).tolist()
    counts = counts if not flat[0] else [0, *counts]
    text = coco_mask.encode(np.asfortranarray(drawn))["counts"].decode()
    size = [HEIGHT, WIDTH]
    source = coco(
        tmp_path,
        entry(segmentation={"size": size, "counts": counts}),
        entry(id=2, segmentation={"size": size, "counts": text}),
    )
    np.testing.assert_array_equal(source[0].instance_masks, [drawn, drawn])


def test_item_31_nothing_but_crowds(tmp_path):
    with pytest.raises(DataError, match="nothing to train on: expected objects, got 2 crowds and no other object"):
        coco(tmp_path, entry(iscrowd=1), entry(id=2, iscrowd=1))
    with pytest.raises(DataError, match="nothing to train on: expected objects, got none"):
        coco(tmp_path)


def test_brushed_masks_that_a_tool_exports_as_crowds(tmp_path):
    runs = {"size": [HEIGHT, WIDTH], "counts": [100, 300, 200]}
    brushed = [entry(iscrowd=1, segmentation=runs), entry(id=2, iscrowd=1, segmentation=runs)]
    with pytest.raises(DataError, match="got 2 crowds and no other object .*set crowd=objects"):
        coco(tmp_path, *brushed)
    source = coco(tmp_path, *brushed, entry(id=3))
    assert source.report.count(CROWD) == 2 and source[0].ignored.tolist() == [True, True, False]
    source = coco(tmp_path, *brushed, crowd="objects")
    assert source[0].ignored.tolist() == [False, False] and not source.report
    assert source[0].instance_masks.areas().tolist() == [300, 300]


def test_a_category_that_is_only_the_others_supercategory_is_no_class(tmp_path):
    root = {"id": 0, "name": "pets", "supercategory": "none"}
    categories = [root, *({**one, "supercategory": "pets"} for one in CATEGORIES)]
    source = coco(tmp_path, entry(), categories=categories)
    assert source.names["classes"] == ("dog", "cat") and source.category_ids == (3, 7)
    what = "category without objects that others name as their supercategory, left out"
    assert str(source.report) == f"1 × {what}: 0: pets"
    assert coco(tmp_path, entry(category_id=0), categories=categories).names["classes"] == ("pets", "dog", "cat")
    given = coco(tmp_path, entry(), categories=categories, names=["pets", "dog", "cat"])
    assert given.names["classes"] == ("pets", "dog", "cat") and given.known is None
    person = [{"id": 1, "name": "person", "supercategory": "person"}, {"id": 3, "name": "x", "supercategory": "person"}]
    assert coco(tmp_path, entry(), categories=person).names["classes"] == ("person", "x")  # as in COCO


@pytest.mark.parametrize(
    ("degrees", "box"),
    [(90.0, [8, 6, 12, 14]), (270, [8, 6, 12, 14]), (45, [5.757, 5.757, 14.243, 14.243]), (180, None), (0.0, None)],
)
def test_turned_boxes_become_the_upright_boxes_around_them(tmp_path, degrees, box):
    source = coco(tmp_path, entry(bbox=[6, 8, 8, 4], attributes={"occluded": False, "rotation": degrees}))
    np.testing.assert_allclose(source[0].boxes, [box or [6, 8, 14, 12]], atol=1e-3)
    assert source.report.count("box with a rotation, taken as the upright box around it") == (box is not None)


@pytest.mark.parametrize(
    ("box", "area", "cause"),
    [
        ([10, 8, 25, 18], None, "they seem to be x1, y1, x2, y2"),
        ([2, 3, 8, 9], 36, "their areas fit x1, y1, x2, y2"),
        ([0.2, 0.3, 0.4, 0.5], None, "they seem to be shares of the image"),
        ([40, 30, 9, 9], None, "may be of images of another size"),
    ],
)
def test_most_boxes_in_another_format_are_an_error(tmp_path, box, area, cause):
    wrong = [entry(id=n, bbox=box, area=area) for n in range(1, 4)]
    with pytest.raises(DataError, match=f"expected boxes as x, y, width, height in pixels, but 3 of .*{cause}"):
        coco(tmp_path, *wrong)
    few = [entry(id=n) for n in range(4, 40)]
    assert len(coco(tmp_path, *wrong, *few)[0].boxes) >= 36  # some wrong ones are clipped or skipped


def test_an_image_whose_objects_are_all_broken_is_no_background(tmp_path):
    source = coco(tmp_path, entry(bbox=[5, 5, 0, 0]), entry(id=2, image_id=2), images=listed(3))
    assert source.image_ids == [2, 3] and [len(source[n].boxes) for n in range(2)] == [1, 0]
    assert source.report.count("image whose objects were all skipped, left out") == 1


def test_item_32_a_missing_box_is_derived(tmp_path):
    runs = {"size": [HEIGHT, WIDTH], "counts": [100, 300, 200]}
    source = coco(
        tmp_path,
        entry(bbox=None, area=None, segmentation=[SQUARE]),
        entry(id=2, bbox=[], area=None, segmentation=runs),
        entry(id=3, bbox=None),
    )
    assert source[0].boxes.tolist() == [[2, 3, 12, 13], [5, 0, 20, 20]] and source[0].areas.tolist() == [100, 300]
    assert source.report.count("object with neither box nor segmentation, skipped") == 1
    assert source.report.count("box that is missing, NaN or without extent, derived from the segmentation") == 2


@pytest.mark.parametrize("box", [[0, 0, 0, 0], [2, 3, 0, 5], [2, 3, 5, -5], [float("nan"), 3, 10, 10]])
def test_a_box_that_is_none_is_derived_too(tmp_path, box):
    runs = {"size": [HEIGHT, WIDTH], "counts": [100, 300, 200]}
    source = coco(
        tmp_path,
        entry(bbox=box, segmentation=[SQUARE]),
        entry(id=2, bbox=box, segmentation=runs),
        entry(id=3, bbox=box),
    )
    assert source[0].boxes.tolist() == [[2, 3, 12, 13], [5, 0, 20, 20]]
    what = "box that is missing, NaN or without extent, derived from the segmentation"
    assert source.report.count(what) == 2 and len(str(source.report).splitlines()) == 2


def test_objects_without_segmentations(tmp_path):
    assert "instance_masks" not in coco(tmp_path, entry()).fields
    source = coco(tmp_path, entry(), entry(id=2, segmentation=[SQUARE]))
    assert source[0].instance_masks.known.tolist() == [False, True] and source[0].instance_masks[1].areas() == [100]
    assert "1 of 2 objects have no segmentation: of those only the box is learned" in str(source.report)
    source = coco(tmp_path, entry(segmentation=[]), entry(id=2, segmentation=[SQUARE]))
    assert source[0].instance_masks.known.tolist() == [False, True]


def test_polygons_outside_of_their_image_and_without_a_pixel_teach_the_box_alone(tmp_path):
    outside, thin = [100, 3, 112, 3, 112, 13], [2, 3, 12, 3, 12, 3.1, 2, 3.1]
    line = [2, 3.3, 12, 3.3, 12, 3.4, 2, 3.4]  # across the centers of the crop's first row
    objects = [entry(id=n, segmentation=[polygon]) for n, polygon in enumerate((outside, thin, line, SQUARE))]
    source = coco(tmp_path, *objects)
    what = "segmentation without a pixel in its image: of the object only the box is learned"
    assert source.report.count(what) == 1
    nothing = {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}
    empty = coco(tmp_path, entry(segmentation=nothing), entry(id=2, segmentation=[SQUARE]))
    assert empty.report.count(what) == 1 and empty[0].instance_masks.known.tolist() == [False, True]
    masks, boxes = source[0].instance_masks, source[0].boxes
    assert masks.known.tolist() == [False, True, True, True]
    crops = masks.crops(boxes, 14)
    assert (crops[:2] == NO_MASK).all() and (crops[3] == 1).all()
    assert (crops[2, 0] == 1).all() and (crops[2, 1:] == 0).all()
    partly = coco(tmp_path, entry(bbox=[-4, 3, 16, 10], segmentation=[[-4, 3, 12, 3, 12, 13, -4, 13]]))[0]
    assert partly.boxes.tolist() == [[0, 3, 12, 13]] and partly.instance_masks.areas() == [120]
    assert (partly.instance_masks.crops(partly.boxes, 14) == 1).all()


PERSON = [{"id": 1, "name": "person", "keypoints": ["head", "hand"]}, {"id": 2, "name": "ball"}]


def person(points, **changes):
    return entry(category_id=1, keypoints=points, **changes)


def test_items_34_and_36_keypoints_keep_their_number(tmp_path):
    source = coco(
        tmp_path,
        person([3, 4, 2, 9, 9, 0], num_keypoints=7),
        entry(id=2, category_id=2),
        person([0] * 6, id=3, area=None),
        categories=PERSON,
    )
    assert source.names["keypoints"] == ("head", "hand") and "keypoints" in source.fields
    assert source[0].keypoints.tolist() == [[[3, 4, 2], [0, 0, 0]], [[0] * 3] * 2, [[0] * 3] * 2]


@pytest.mark.parametrize(
    ("points", "changes", "text"),
    [
        ([3, 4, 2, 9, 9, 1], {"area": None}, "annotation 1: expected an area beside its keypoints"),
        ([3, 4, 2], {}, r"list of 2 keypoints \(x, y, visibility\) of 6 numbers"),
        ([3, 4, 2, 9, 9, 3], {}, "visibilities 0, 1 or 2, got 3"),
    ],
    ids=["33", "36", "visibility"],
)
def test_item_33_and_broken_keypoints(tmp_path, points, changes, text):
    with pytest.raises(DataError, match=text):
        coco(tmp_path, person(points, **changes), categories=PERSON)


def test_categories_with_different_keypoints(tmp_path):
    with pytest.raises(DataError, match="one list of keypoints for all categories, got 2"):
        coco(tmp_path, entry(category_id=1), categories=[PERSON[0], {"id": 2, "name": "x", "keypoints": ["a"]}])


def test_categories_that_share_a_list_of_keypoints(tmp_path):
    """As AP-10K has it: each species names the same keypoints, with limbs from 1."""
    points = ["left_eye", "right_eye", "nose"]
    shared = [{"id": n, "name": f"n{n}", "keypoints": points, "skeleton": [[1, 2], [2, 3]]} for n in (5, 1)]
    categories = [*shared, {"id": 9, "name": "ball"}, {"id": 10, "name": "box", "keypoints": [], "skeleton": []}]
    seen = {"keypoints": [3, 4, 2, 5, 6, 1, 0, 0, 0]}
    source = coco(
        tmp_path,
        entry(category_id=1, **seen),
        entry(id=2, category_id=5, **seen),
        entry(id=3, category_id=9),
        entry(id=4, category_id=10, keypoints=[]),
        categories=categories,
    )
    skeleton = source.names["keypoints"]
    assert skeleton == tuple(points) and skeleton.limbs == ((0, 1), (1, 2)) and skeleton.partners == (1, 0, 2)
    assert source[0].classes.tolist() == [0, 1, 2, 3] and source.posed(0).tolist() == [0, 1]
    assert source[0].keypoints[:2].tolist() == [[[3, 4, 2], [5, 6, 1], [0, 0, 0]]] * 2 and not source.report


def test_keypoints_outside_of_the_image_are_not_labeled(tmp_path):
    nan = float("nan")
    source = coco(
        tmp_path,
        person([WIDTH + 0.6, 4, 2, WIDTH, HEIGHT, 1]),
        person([-9, 4, 2, 3, 4, 2], id=2),
        person([nan, 4, 2, 3, 4, 2], id=3),
        person([-9, 4, 0, 3, 4, 2], id=4),
        categories=PERSON,
    )
    away = [[0, 0, 0], [3, 4, 2]]
    assert source[0].keypoints.tolist() == [[[WIDTH, 4, 2], [WIDTH, HEIGHT, 1]], away, away, away]
    assert {what: len(names) for what, names, _ in source.report.items() if "sigma" not in what} == {
        "keypoint outside of its image, not labeled": 1,
        "keypoint of NaN or infinity, not labeled": 1,
    }
    assert f"{source.path}, annotation 2" in str(source.report)


def test_limbs_and_a_skeleton_of_the_recipe(tmp_path):
    categories = [{**PERSON[0], "skeleton": [[1, 2], [1, 3], [2, 2]]}]
    source = coco(tmp_path, person([3, 4, 2, 0, 0, 0]), categories=categories)
    assert source.names["keypoints"].limbs == ((0, 1),)
    assert source.report.count("limb that is no pair of keypoints, left out") == 1
    from_zero = [{**PERSON[0], "skeleton": [[0, 1]]}]
    assert coco(tmp_path, person([3, 4, 2, 0, 0, 0]), categories=from_zero).names["keypoints"].limbs == ((0, 1),)
    given = {"keypoints": ["top", "left"], "limbs": [], "pairs": [["top", "left"]], "sigmas": [0.1, 0.2]}
    source = coco(tmp_path, person([3, 4, 2, 0, 0, 0]), categories=categories, skeleton=given)
    skeleton = source.names["keypoints"]
    assert (skeleton, skeleton.limbs, skeleton.partners, skeleton.sigmas) == (("top", "left"), (), (1, 0), (0.1, 0.2))
    points = np.float32([[[3.00004, 4, 0.5], [5, 6, 0]]])
    (result,) = source.results(
        source[0], {"boxes": np.float32([[1, 2, 5, 9]]), "scores": [0.5], "classes": [0], "keypoints": points}
    )
    assert result["keypoints"] == [3, 4, 0.5, 5, 6, 0] and result["category_id"] == 1


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd"])
def test_item_77_a_file_name_that_leads_out(tmp_path, name):
    root = tmp_path / "set"
    root.mkdir()
    write_image(tmp_path / "secret.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    path = write(root, [entry()], listed(file_name=name))
    with pytest.raises(DataError, match="^images: .*image 1: .*expected a file in .*; give a folder"):
        Coco(path, str(root / "images"))


@pytest.mark.parametrize(
    ("name", "message"),
    [("a\0b.png", "got none"), (7, "a file_name, got 7"), ("circle/a.png", "got none")],
)
def test_file_names_that_are_none(tmp_path, name, message):
    path = write(tmp_path, [entry()], listed(file_name=name))
    os.symlink(tmp_path / "images/circle", tmp_path / "images/circle")
    with pytest.raises(DataError, match=message):
        Coco(path, str(tmp_path / "images"))


def test_a_file_name_that_no_disk_takes_is_a_missing_image(tmp_path):
    images = [*listed(), {"id": 2, "file_name": "x" * 300 + ".png"}]
    source = Coco(write(tmp_path, [entry()], images), str(tmp_path / "images"))
    assert len(source) == 1 and source.report.count("image missing, skipped") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected JSON"),
        ("[" * 100_000, "expected JSON"),
        ("[]", "expected COCO's lists images, annotations, categories"),
        ('{"images": [], "annotations": []}', "but categories is missing; files of captions"),
        ('{"images": [{}], "annotations": [], "categories": []}', "unique integer id for each image, got None"),
        ('{"images": [{"id": 1}], "annotations": [], "categories": [{"id": 1}]}', "image 1: expected a file_name"),
        ('{"images": [], "annotations": [], "categories": []}', "expected categories"),
        ('{"images": [], "annotations": [3], "categories": [{"id": 1}]}', "annotation None"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1}]}', "got none of the 0 that it names"),
    ],
)
def test_files_of_another_form(tmp_path, text, message):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=f"x.json.*{message}"):
        Coco(str(tmp_path / "x.json"))


def test_an_image_that_cannot_be_read_is_skipped(tmp_path):
    path = write(tmp_path, [entry()], listed(2))
    (tmp_path / "images/2.png").write_bytes(b"")
    source = Coco(path)
    assert len(source) == 1 and "empty file, skipped" in str(source.report)


def test_images_turned_by_exif_are_taken_upright(tmp_path):
    path = write(tmp_path, [entry()], listed(height=WIDTH, width=HEIGHT, file_name="1.jpg"))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(tmp_path / "images/1.jpg", exif=exif)
    assert Coco(path)[0].image.shape == (WIDTH, HEIGHT, 3)


def test_annotations_of_a_category_alone_are_classes_of_images(tmp_path):
    def classes(*pairs):
        return [{"id": n, "image_id": image, "category_id": number} for n, (image, number) in enumerate(pairs)]

    source = Coco(write(tmp_path, classes((1, 3)), listed()))
    assert source.fields == {"label", "tags"} == source.names.keys()
    sample = source.read(0, source.fields)
    assert sample.label == 0 and sample.tags[0] == 1
    several = Coco(write(tmp_path, classes((1, 3), (1, 7)), listed()))
    assert several.fields == {"tags"} and several[0].tags.sum() == 2


def test_images_named_by_their_url_alone(tmp_path):
    image = {"id": 1, "coco_url": "http://images.cocodataset.org/images/1.png", "height": HEIGHT, "width": WIDTH}
    path = write(tmp_path, [entry()], [image])
    assert Coco(path)[0].path.endswith("1.png") and len(Coco(**Coco.recognize(tmp_path)["train"])) == 1


def test_what_is_not_coco_is_not_claimed_and_panoptic_annotations_are_named(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "a.json").write_text('{"annotations": [{"name": "cat"}], "item": {"name": "a.png"}}')
    assert Coco.recognize(tmp_path) is None
    (tmp_path / "a.json").unlink()
    segments = '{"images": [{"file_name": "1.png"}], "annotations": [{"file_name": "1.png", "segments_info": []}]}'
    (tmp_path / "panoptic_train2017.json").write_text(segments)
    assert "of COCO's panoptic format; boxes and masks of objects are in" in Coco.recognize(tmp_path)


# which folders are COCO's


@pytest.mark.parametrize(
    ("files", "train", "val"),
    [
        (
            {"annotations/instances_train2017.json": "train2017", "annotations/instances_val2017.json": "val2017"},
            ("annotations/instances_train2017.json", "train2017"),
            ("annotations/instances_val2017.json", "val2017"),
        ),
        (
            {
                "annotations/instances_train.json": "images/train",
                "annotations/person_keypoints_train.json": "images/train",
            },
            ("annotations/instances_train.json", "images/train"),
            None,
        ),
        (
            {"train/_annotations.coco.json": "train", "valid/_annotations.coco.json": "valid"},
            ("train/_annotations.coco.json", "train"),
            ("valid/_annotations.coco.json", "valid"),
        ),
        ({"annotations.json": "images"}, ("annotations.json", "images"), None),
        ({"labels.json": "data"}, ("labels.json", "data"), None),
        (
            {"train/labels.json": "train/data", "val/labels.json": "val/data"},
            ("train/labels.json", "train/data"),
            ("val/labels.json", "val/data"),
        ),
        (
            {"annotations/instances_default.json": "images/default"},
            ("annotations/instances_default.json", "images/default"),
            None,
        ),
        (
            {"blood_train.json": "images", "blood_test.json": "images"},
            ("blood_train.json", "images"),
            ("blood_test.json", "images"),
        ),
        ({"annotations/captions_train.json": "train"}, None, None),
        ({"annotations/instances_train.json": "elsewhere/far"}, ("annotations/instances_train.json", ""), None),
    ],
)
def test_layouts(tmp_path, files, train, val):
    for name, folder in files.items():
        path = Path(write(tmp_path, [entry()], listed(file_name="a.png"), name=name))
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / folder / "a.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        assert path.is_file()
    (tmp_path / "images/1.png").unlink()
    plan = Coco.recognize(tmp_path)
    if train is None:
        assert plan == "COCO's captions, which have no boxes; instances_*.json has"
        return
    expected = {"train": train, "val": val}
    assert plan == {
        split: {"annotations": str(tmp_path / pair[0]), "images": str(tmp_path / pair[1])}
        for split, pair in expected.items()
        if pair
    }
    assert len(Coco(**plan["train"])) == 1
    assert Coco.recognize_file(Path(plan["train"]["annotations"]), ())["train"] == plan["train"]
    assert Coco(plan["train"]["annotations"]).root == tmp_path / train[1]  # detected without the argument too


@pytest.mark.parametrize("text", ["x", "{", '{"shapes": [], "imagePath": "a.png"}', "[1]"])
def test_other_json_is_not_taken_for_coco(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    assert Coco.recognize(tmp_path) is None


def test_a_validation_part_gets_the_training_parts_classes(tmp_path):
    write(tmp_path, [entry(category_id=1)], categories=PERSON)
    write(
        tmp_path, [entry(category_id=9)], categories=[{"id": 9, "name": "ball"}], name="annotations/instances_val.json"
    )
    train, val = load_data(str(tmp_path), batch=1, fields=("boxes", "classes"), size=(32, 32), workers=0)
    assert val.source.names["classes"] == ("person", "ball") and val.source[0].classes.tolist() == [1]


# real data


@pytest.mark.skipif(not (SHARED / "coco-mini").is_dir(), reason="../shared/data/coco-mini is not beside this checkout")
def test_coco_mini_agrees_with_pycocotools():
    from pycocotools.coco import COCO

    splits, _ = detect(SHARED / "coco-mini", ["boxes"])
    source = Coco(**{key: value for key, value in splits["val"].items() if key != "source"})
    theirs = COCO(splits["val"]["annotations"])
    assert len(source) == 79 and len(source.names["classes"]) == 80 and source.category_ids[79] == 90
    crowds = 0
    for index in range(len(source)):
        sample, result = source[index], theirs.loadAnns(theirs.getAnnIds(source.image_ids[index]))
        assert len(sample.boxes) == len(result)
        for number, one in enumerate(result):
            x, y, width, height = one["bbox"]
            np.testing.assert_allclose(sample.boxes[number], [x, y, x + width, y + height], atol=1)
            np.testing.assert_array_equal(sample.instance_masks[number], [theirs.annToMask(one)])
            assert source.category_ids[sample.classes[number]] == one["category_id"]
            assert sample.ignored[number] == one["iscrowd"] and sample.areas[number] == np.float32(one["area"])
            crowds += one["iscrowd"]
    assert crowds == source.report.count(CROWD) and len(str(source.report).splitlines()) == 1


@pytest.mark.skipif(not (SHARED / "coco-mini").is_dir(), reason="../shared/data/coco-mini is not beside this checkout")
@pytest.mark.parametrize(("name", "points"), [("coco-mini", 17), ("lsp", 14)])
def test_real_keypoints(name, points):
    (path,) = (SHARED / name / "annotations").glob("person_keypoints_val*.json")
    source = Coco(str(path))
    assert len(source.names["keypoints"]) == points and source.names["classes"] == ("person",)
    counted = [int((source[n].keypoints[..., 2] > 0).sum()) for n in range(len(source))]
    written = json.loads(path.read_text())["annotations"]
    assert sum(counted) == sum(one["num_keypoints"] for one in written)


@pytest.mark.skipif(not (SHARED / "nuclei").is_dir(), reason="../shared/data/nuclei is not beside this checkout")
def test_nuclei_masks_fill_their_boxes():
    source = Coco(str(SHARED / "nuclei/annotations/instances_val.json"))
    sample = source[0]
    for mask, box in zip(np.asarray(sample.instance_masks), sample.boxes, strict=True):
        x, y, width, height = cv2.boundingRect(mask)
        assert [x, y, x + width, y + height] == box.tolist()
    assert sample.areas.tolist() == sample.instance_masks.areas().tolist()


def test_semantic_masks_follow_from_objects(tmp_path):
    """Of overlapping objects the smaller is on top; crowds and objects without a mask are void."""
    small = [4, 5, 8, 5, 8, 9, 4, 9]
    crowd = {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * (WIDTH - 2), 2 * HEIGHT]}
    source = coco(
        tmp_path,
        entry(segmentation=[SQUARE]),
        entry(id=2, category_id=7, bbox=[4, 5, 4, 4], segmentation=[small]),
        entry(id=3, bbox=[WIDTH - 2, 0, 2, HEIGHT], segmentation=crowd, iscrowd=1),
        entry(id=4, bbox=[14, 15, 3.5, 4]),
    )
    assert source.derived == {"mask"} and source.names["mask"] == ("background", *source.names["classes"])
    expected = np.zeros((HEIGHT, WIDTH), np.int32)
    expected[3:13, 2:12], expected[5:9, 4:8] = 1, 2  # dog, cat
    expected[:, -2:] = expected[15:19, 14:18] = VOID
    np.testing.assert_array_equal(source[0].mask, expected)
    assert source.read(0, ("boxes",)).mask is None


@pytest.mark.parametrize("names", [("train.json", "test.json"), ("train/labels.json", "test/labels.json")])
@pytest.mark.parametrize("lists", [{}, {"annotations": []}])
def test_a_test_set_without_annotations_is_not_used_and_reported(tmp_path, names, lists):
    for split, name in zip(("train", "test"), names, strict=True):
        (tmp_path / split).mkdir(exist_ok=True)
        write_image(tmp_path / split / f"{split}.jpg", np.zeros((20, 30, 3), np.uint8))
        content = {"images": [{"id": 1, "file_name": f"{split}.jpg"}], "categories": [{"id": 1, "name": "cat"}]}
        objects = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9]}]
        content |= {"annotations": objects} if split == "train" else lists
        (tmp_path / name).write_text(json.dumps(content))
    plan = Coco.recognize(tmp_path)
    assert set(plan) == {"train"}
    report = Coco(**plan["train"]).report
    assert report.count("COCO file of a test set without annotations, not used") == 1


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8-sig"])
def test_json_in_other_encodings(tmp_path, encoding):
    path = Path(write(tmp_path, [entry()]))
    path.write_bytes(path.read_text().encode(encoding))
    splits, said = detect(tmp_path, ["boxes"])
    assert "read as coco" in said
    source = Coco(**{key: value for key, value in splits["train"].items() if key != "source"})
    assert source.names["classes"] == ("dog", "cat") and source[0].boxes.tolist() == [[2, 3, 12, 13]]
