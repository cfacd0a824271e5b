"""labelme's JSON: what its shapes become, and what is done about others."""

import base64
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from visiontasks.data.detect import detect
from visiontasks.data.images import write_image
from visiontasks.data.sources.labelme import Labelme
from visiontasks.errors import DataError

HEIGHT, WIDTH = 30, 40
CASE = Path(__file__).resolve().parents[2] / "../shared/cases/48-labelme-json/data"
SQUARE = [[2, 3], [12, 3], [12, 13], [2, 13]]


def shape(points=SQUARE, kind="polygon", label="cat", **more):
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, **more}


def labelme(root, *files, **arguments):
    """A folder of images a, b, … with these shapes; None: an image without a JSON."""
    for name, shapes in zip("abcd", files, strict=False):
        write_image(root / f"{name}.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        if shapes is not None:
            data = {"shapes": shapes, "imagePath": f"{name}.png", "imageHeight": HEIGHT, "imageWidth": WIDTH}
            (root / f"{name}.json").write_text(json.dumps(data))
    return Labelme(str(root), **arguments)


def test_item_88_a_mask_of_very_many_pixels_is_not_decoded(tmp_path):
    png = base64.b64encode(cv2.imencode(".png", np.zeros((2000, 2000), np.uint8))[1].tobytes()).decode()
    with pytest.raises(DataError, match="shape 1: expected a mask, a PNG in base64"):
        labelme(tmp_path, [shape([[5, 20], [10, 23]], "mask", "dog", mask=png)])


def test_each_kind_of_shape(tmp_path):
    pixels = np.zeros((4, 6), np.uint8)
    pixels[1:3, 1:5] = 255
    png = base64.b64encode(cv2.imencode(".png", pixels)[1].tobytes()).decode()
    source = labelme(
        tmp_path,
        [
            shape(),
            shape([[30, 25], [22, 15]], "rectangle", "dog"),
            shape([[20, 10], [24, 13]], "circle"),
            shape([[5, 20], [10, 23]], "mask", "dog", mask=png),
        ],
        [],
    )
    sample, (square, box, circle, mask) = source[0], source[0].instance_masks
    assert source.names["classes"] == ("cat", "dog") and sample.classes.tolist() == [0, 1, 0, 1]
    np.testing.assert_allclose(sample.boxes, [[2, 3, 12, 13], [22, 15, 30, 25], [15, 5, 25, 15], [6, 21, 10, 23]])
    assert square.areas() == [100] and mask.areas() == [8] and not box.known[0]
    assert abs(circle.areas()[0] - np.pi * 25) < 5
    assert source[1].boxes.shape == (0, 4) and len(source) == 2


def test_images_turned_by_exif_are_annotated_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((WIDTH, HEIGHT, 3), np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    data = {"shapes": [shape()], "imagePath": "a.jpg", "imageHeight": HEIGHT, "imageWidth": WIDTH}
    (tmp_path / "a.json").write_text(json.dumps(data))
    sample = Labelme(str(tmp_path))[0]
    assert sample.image.shape == (HEIGHT, WIDTH, 3) == (*sample.instance_masks.size, 3)
    assert sample.boxes.tolist() == [[2, 3, 12, 13]] == sample.instance_masks.boxes().tolist()


def test_shapes_of_one_group_are_one_object(tmp_path):
    other = [[20, 3], [26, 3], [26, 9], [20, 9]]
    source = labelme(tmp_path, [shape(group_id=1), shape(other, group_id=1), shape(other, label="dog", group_id=1)])
    assert source[0].boxes.tolist() == [[2, 3, 26, 13], [20, 3, 26, 9]] and source[0].classes.tolist() == [0, 1]
    assert source[0].instance_masks.areas().tolist() == [136, 36]


def test_what_is_no_object_and_what_is_not_labeled_is_reported(tmp_path):
    source = labelme(tmp_path, [shape(), shape([[1, 1]], "point"), shape([[0, 0], [5, 5]], "line")], None)
    assert len(source) == 1 and len(source[0].boxes) == 1
    assert source.report.count("shape that is no polygon, circle, mask or rectangle (point), skipped") == 1
    short = labelme(tmp_path, [shape(), shape([[1, 2], [3, 4]]), shape(kind="ellipse")])
    assert len(short[0].boxes) == 1 and short.report.count("polygon of fewer than 3 points, skipped") == 1
    assert source.report.count("image without a labelme file, left out") == 1


def test_files_with_embedded_images_and_in_a_folder_of_their_own(tmp_path):
    many = [[float(x), float(x % 7)] for x in range(30)] * 20
    (tmp_path / "labels").mkdir()
    for number, shapes in enumerate(([shape(), shape(many)], [shape()])):
        write_image(tmp_path / f"{number}.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        data = {
            "version": "5.4",
            "flags": {},
            "shapes": shapes,
            "imagePath": f"..\\{number}.png",
            "imageData": "A" * 9000,
        }
        data |= {"imageHeight": HEIGHT, "imageWidth": WIDTH}
        (tmp_path / f"labels/{number}.json").write_text(json.dumps(data, indent=2))
    source = Labelme(str(tmp_path))
    assert [len(source[i].boxes) for i in range(2)] == [2, 1] and not source.report


def test_rectangles_alone_are_boxes_without_masks(tmp_path):
    source = labelme(tmp_path, [shape([[30, 25], [22, 15]], "rectangle")])
    assert source.fields == {"boxes", "classes", "tags", "label"} and source[0].instance_masks is None


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (shape(label=" "), r"a.json, shape 1: expected a label, got none"),
        ("cat", r"a.json: expected shapes of a label and points, got \['cat'\]"),
        (shape(["x"]), r"expected points \[\[x, y\], …\], got \['x'\]"),
        (shape([[2, 3, 1], [12, 3, 1], [12, 13, 1]]), r"expected points \[\[x, y\], …\], got \[\[2, 3, 1\]"),
        (shape([2, 3, 12, 3, 12, 13]), r"expected points \[\[x, y\], …\], got \[2, 3"),
        (shape(group_id=[1]), r"shape 1: expected a number or a text as its group_id, got \[1\]"),
        (shape([[1, 2], [3, 4]], "mask", mask="??"), r"expected a mask, a PNG in base64"),
    ],
)
def test_a_wrong_shape_is_an_error_that_names_it(wrong, text, tmp_path):
    with pytest.raises(DataError, match=text):
        labelme(tmp_path, [wrong])


@pytest.mark.parametrize(
    ("corner", "box"),
    [([-5, -5], [0, 0, 5, 5]), ([35, 25], [35, 25, 40, 30]), ([4, 6], [4, 6, 14, 16])],
)
def test_a_mask_over_the_edge_of_its_image_is_cut(corner, box, tmp_path):
    png = base64.b64encode(cv2.imencode(".png", np.full((10, 10), 255, np.uint8))[1].tobytes()).decode()
    source = labelme(tmp_path, [shape([corner, np.add(corner, 9).tolist()], "mask", mask=png)])
    assert source[0].boxes.tolist() == [box]
    assert source[0].instance_masks.areas() == [(box[2] - box[0]) * (box[3] - box[1])]


def test_points_far_outside_are_cut_and_nan_is_skipped(tmp_path):
    far = [[0, 0], [1e9, 0], [1e9, 1e9]]
    source = labelme(tmp_path, [shape(far), shape([[1, 1], [float("nan"), 2], [3, 3]]), shape()])
    assert len(source[0].boxes) == 2 and source[0].instance_masks.known.all()
    assert source.report.count("polygon that reaches far out of its image, cut to it") == 1
    assert source.report.count("polygon of NaN or infinity, skipped") == 1


def test_a_shape_that_lies_far_outside_is_skipped(tmp_path):
    source = labelme(tmp_path, [shape([[1e9, 1e9], [2e9, 1e9], [2e9, 2e9]]), shape()])
    assert len(source[0].boxes) == 1 and source.report.count("polygon outside of its image, skipped") == 1


def test_names_and_sizes_are_checked(tmp_path):
    with pytest.raises(DataError, match=r"expected a class among names \(dog\), got 'cat'"):
        labelme(tmp_path, [shape()], names=["dog"])
    data = json.loads((tmp_path / "a.json").read_text())
    (tmp_path / "a.json").write_text(json.dumps({**data, "imageHeight": 99}))
    with pytest.raises(DataError, match=r"height and width \(30, 40\), got \(99, 40\)"):
        Labelme(str(tmp_path))
    with pytest.raises(DataError, match="nothing to train on"):
        labelme(tmp_path, [])


def test_a_folder_as_people_have_it():
    if not CASE.is_dir():
        pytest.skip(f"needs {CASE}")
    parts, _ = detect(CASE, ("classes", "boxes"))
    assert parts["train"]["source"] == "labelme"
    source = Labelme(parts["train"]["root"])
    assert len(source) == 3 and all(len(source[i].boxes) for i in range(3))


def test_files_in_a_folder_beside_that_of_the_images(tmp_path):
    shape = {"label": "car", "points": [[1, 1], [8, 6]], "shape_type": "rectangle", "group_id": None}
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for name in "ab":
        write_image(tmp_path / f"images/{name}.jpg", np.zeros((10, 12, 3), np.uint8))
        content = {"shapes": [shape], "imagePath": f"..\\pics\\{name}.jpg", "imageHeight": 10, "imageWidth": 12}
        (tmp_path / f"labels/{name}.json").write_text(json.dumps(content))
    plan = Labelme.recognize(tmp_path)
    source = Labelme(**plan["train"])
    assert len(source) == 2 and source[0].boxes.tolist() == [[1, 1, 8, 6]]
    assert "no images" in Labelme.recognize(tmp_path / "labels")


def test_an_image_whose_shapes_are_all_unusable_is_no_background(tmp_path):
    source = labelme(tmp_path, [shape()], [shape([[1, 1], [2, 2]], label="dog")], [])
    assert [source[index].id for index in range(len(source))] == ["a.png", "c.png"]
    assert source.names["classes"] == ("cat",)
    assert source.report.count("image whose objects were all skipped, left out") == 1


def test_of_two_images_of_one_name_the_one_in_the_file_is_taken(tmp_path):
    write_image(tmp_path / "a.webp", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    source = labelme(tmp_path, [shape()])
    assert [source[0].id] == ["a.png"] and source.report.count("image without a labelme file, left out") == 1


def test_two_files_for_one_image_are_an_error(tmp_path):
    labelme(tmp_path, [shape()])
    (tmp_path / "b.json").write_bytes((tmp_path / "a.json").read_bytes())
    with pytest.raises(DataError, match=r"b.json: expected one file of annotations for .*a.png, but .*a.json"):
        Labelme(str(tmp_path))


def test_a_folder_that_was_linked_is_read(tmp_path):
    for name in ("elsewhere", "set"):
        (tmp_path / name).mkdir()
    labelme(tmp_path / "elsewhere", [shape()])
    (tmp_path / "set" / "part").symlink_to(tmp_path / "elsewhere")
    assert len(Labelme(str(tmp_path / "set"))) == 1


def test_json_that_is_too_deep_is_broken(tmp_path):
    labelme(tmp_path, [shape()])
    write_image(tmp_path / "b.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    (tmp_path / "b.json").write_text('{"imagePath": "b.png", "shapes": ' + "[" * 10**5 + "]" * 10**5 + "}")
    assert "broken JSON" in str(Labelme(str(tmp_path)).report)


def test_flags_of_files_without_shapes_are_classes_of_images(tmp_path):
    labelme(tmp_path, [shape()], [shape()])
    for name, flags in (("a", {"cat": True, "dog": False}), ("b", {"cat": False, "dog": True})):
        data = {"shapes": [], "flags": flags, "imagePath": f"{name}.png", "imageHeight": HEIGHT, "imageWidth": WIDTH}
        (tmp_path / f"{name}.json").write_text(json.dumps(data))
    source = Labelme(str(tmp_path))
    assert source.fields == {"label", "tags"} and source.names["label"] == ("cat", "dog")
    assert [source.read(number, source.fields).label for number in range(2)] == [0, 1]


def test_images_inside_the_files_are_named(tmp_path):
    data = {"shapes": [shape()], "imagePath": "a.png", "imageData": "aaaa"}
    (tmp_path / "a.json").write_text(json.dumps(data))
    with pytest.raises(DataError, match=r"no images; those inside \(imageData\) are not read: save them as files"):
        detect(tmp_path, ["boxes", "classes"])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-8-sig"])
def test_json_in_other_encodings(tmp_path, encoding):
    labelme(tmp_path, [shape()])
    file = tmp_path / "a.json"
    file.write_bytes(file.read_text().encode(encoding))
    _, said = detect(tmp_path, ["boxes"])
    assert "read as labelme" in said and Labelme(str(tmp_path))[0].boxes.tolist() == [[2, 3, 12, 13]]
