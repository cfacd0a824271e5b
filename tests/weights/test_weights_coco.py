"""Whole detectors by name: classes find their rows, what is not COCO's starts anew, what does not fit is an error."""

import keras
import numpy as np
import parity
import pytest

from visiontasks import api, build
from visiontasks.errors import RecipeError, UserError
from visiontasks.heads.keypoint_rcnn import KeypointRCNN
from visiontasks.recipe import reading as recipe
from visiontasks.weights import coco, torchvision

RECIPES = [name for name in recipe.available() if name.endswith("_coco")]


def test_the_classes_are_coco_s():
    ids = coco.class_ids()
    assert len(ids) == 80 and list(ids)[:2] == ["person", "bicycle"] and list(ids)[-1] == "toothbrush"
    assert ids["person"] == 1 and ids["stop sign"] == 13 and ids["toothbrush"] == 90
    assert list(ids.values()) == sorted(ids.values())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """torchvision's SSD300 of five rows: the background, three classes, and at 3 one that has no name."""
    folder = tmp_path_factory.mktemp("ssd")
    parity.run("torchvision_detection.py", folder, "ssd300_vgg16")
    (folder / "ssd300_vgg16.pth").rename(folder / coco.DETECTORS["ssd300_vgg16"].file)
    return folder


@pytest.fixture
def published(monkeypatch, folder):
    monkeypatch.setattr(coco, "class_ids", lambda: {"cat": 1, "dog": 2, "cow": 4})
    monkeypatch.setattr(torchvision, "download", lambda name: folder / name)
    return dict(np.load(folder / "ssd300_vgg16.npz"))


def raw(words, images, weights="coco"):
    made, _ = build.recipe("ssd_coco", [f"weights={weights}", *words])
    assert build.pretrained(made).complete == ("cell" not in str(words))
    outputs = build.model(made)(images)
    return {key: keras.ops.convert_to_numpy(value) for key, value in outputs.items()}


def test_classes_find_their_rows_by_name(published):
    expected = published["raw_cls_logits"]
    assert expected.shape[-1] == 5
    for words, rows in (([], [0, 1, 2, 4]), (["head.classes=[cow, cat]"], [0, 4, 1])):
        got = raw(words, published["images"])
        np.testing.assert_allclose(got["classes"], expected[..., rows], atol=1e-4)
        np.testing.assert_allclose(got["boxes"], published["raw_bbox_regression"], atol=1e-4)


def test_a_file_is_coco_s_by_its_rows_whatever_its_name(published, folder, tmp_path):
    """A renamed official file; and one of a training with as many rows as the head's own classes need."""
    expected, path = published["raw_cls_logits"], tmp_path / "mine.pth"
    path.write_bytes((folder / coco.DETECTORS["ssd300_vgg16"].file).read_bytes())
    for words, rows in ((["head.classes=[cow, cat]"], [0, 4, 1]), (["head.classes=[w, x, y, z]"], [0, 1, 2, 3, 4])):
        got = raw(words, published["images"], weights=path)
        np.testing.assert_allclose(got["classes"], expected[..., rows], atol=1e-4)


@pytest.mark.parametrize(("name", "anchors"), [("ssd300_vgg16", 6), ("retinanet_resnet50_fpn", 9)])
def test_rows_tell_coco_s_last_layers_from_others(name, anchors):
    by_class = coco.DETECTORS[name].by_class
    ((module, (_, background)),) = by_class.items()
    for classes in (1, 12, 20, 79, 80):
        own = {f"{module}.0.weight": np.zeros((anchors * (classes + background), 1))}
        assert not coco._has_coco_rows(own, by_class, classes)
        assert coco._has_coco_rows({f"{module}.0.weight": np.zeros((anchors * 91, 1))}, by_class, classes)
    ninety = {f"{module}.0.weight": np.zeros((anchors * 91, 1))}
    assert not coco._has_coco_rows(ninety, by_class, 91 - background)
    assert not coco._has_coco_rows({"backbone.weight": np.zeros((91, 1))}, by_class, 3)


def test_from_python_no_data_set_is_read_for_the_classes(published, monkeypatch):
    monkeypatch.setattr(build, "loaders", lambda made: pytest.fail("reads 25 GB of images"))
    assert api.from_recipe("ssd_coco", "weights=coco").heads["ssd"].classes == ("cat", "dog", "cow")


def test_a_class_that_coco_lacks_starts_the_last_layers_anew(published):
    with pytest.warns(
        UserWarning, match="not of COCO's classes: cell; so head.classification_head start from random weights"
    ):
        got = raw(["head.classes=[cat, cell]"], published["images"])
    np.testing.assert_allclose(got["boxes"], published["raw_bbox_regression"], atol=1e-4)
    assert got["classes"].shape[-1] == 3
    assert not np.allclose(got["classes"][..., :2], published["raw_cls_logits"][..., :2], atol=0.1)


@pytest.mark.parametrize(
    ("name", "module", "anchors", "each", "rows"),
    [
        ("ssd300_vgg16", "head.classification_head.module_list.1", 6, 1, [0, 18, 1]),
        ("retinanet_resnet50_fpn", "head.classification_head.cls_logits", 9, 1, [18, 1]),
        ("fasterrcnn_resnet50_fpn", "roi_heads.box_predictor.cls_score", 1, 1, [0, 18, 1]),
        ("fasterrcnn_resnet50_fpn", "roi_heads.box_predictor.bbox_pred", 1, 4, [0, 18, 1]),
        ("maskrcnn_resnet50_fpn_v2", "roi_heads.mask_predictor.mask_fcn_logits", 1, 1, [0, 18, 1]),
    ],
)
def test_rows_of_classes_in_a_published_tensor(name, module, anchors, each, rows):
    """91 rows of each anchor, COCO's ids from 1 to 90; where 0 is the background it stays first."""
    tensor = np.arange(anchors * 91 * each * 2).reshape(-1, 2)
    got = coco._rows_of(coco.DETECTORS[name].by_class, ("dog", "person"), f"{module}.weight", tensor)
    expected = [tensor[(a * 91 + row) * each + i] for a in range(anchors) for row in rows for i in range(each)]
    np.testing.assert_array_equal(got, expected)
    assert coco._rows_of(coco.DETECTORS[name].by_class, None, f"{module}.weight", tensor) is None
    other = "head.regression_head.bbox_reg.weight"
    assert coco._rows_of(coco.DETECTORS[name].by_class, None, other, tensor) is tensor


def test_a_recipe_of_other_parts_or_arguments_is_an_error():
    with pytest.raises(RecipeError, match=r"weights: there are whole checkpoints for vgg16 with ssd.*got efficientnet"):
        build.recipe("ssd_det", ["weights=coco"])
    with pytest.raises(RecipeError, match=r"head.scales: the checkpoint is for \[0.07.*'the default'"):
        words = "extra: [half, half, trim, trim], batch_norm: false, atrous: true"
        ratios = "aspect_ratios: [[2], [2, 3], [2, 3], [2, 3], [2], [2]]"
        build.recipe("ssd_coco", ["weights=coco", f"head={{name: ssd, levels: [C3, C4], {words}, {ratios}}}"])
    with pytest.raises(RecipeError, match="backbone.ceil_pooling: the checkpoint is for True, got 'the default'"):
        build.recipe("ssd_coco", ["weights=coco", "backbone={name: vgg16}"])
    with pytest.raises(RecipeError, match=r"weights: expected coco or a file.*got 'imagenet'"):
        build.recipe("ssd_coco", ["weights=imagenet"])
    with pytest.raises(RecipeError, match=r"head.mask: the checkpoint is for .*'agnostic': False.*got .*'refine': 2"):
        build.recipe("mask_rcnn_coco", ["weights=coco", "head.mask={agnostic: true, refine: 2}"])
    build.recipe(
        "mask_rcnn_v2_coco", ["weights=coco", "head.mask={batch_norm: true, filters: 256}"]
    )  # as torchvision's
    with pytest.raises(UserError, match="gone.pth"):
        api.from_recipe("ssd_coco", "weights=gone.pth", "head.classes=4")


@pytest.mark.parametrize("name", RECIPES)
def test_the_recipes_for_coco_are_the_published_networks(name):
    """What a recipe says and what the checkpoint needs are the same, where there is a checkpoint."""
    made = recipe.read(name)
    if (made.backbone["name"], made.head["name"]) not in {one.parts for one in coco.DETECTORS.values()}:
        pytest.skip("no checkpoint is published for it")
    build.recipe(name, ["weights=coco"])
    found = coco.find("coco", made.backbone, made.parts)
    assert ("v2" in found.file) == ("v2" in name) and found.parts[0] == made.backbone["name"]


def test_a_checkpoint_of_people_gives_other_objects_what_does_not_depend_on_them():
    made, _ = build.recipe("keypoint_rcnn_coco", ["weights=coco"])
    assert build.pretrained(made).complete and build.pretrained(made).class_names("keypoint_rcnn") == ("person",)
    detector, tensor = coco.find("coco", made.backbone, made.parts), np.ones(3)
    names = [f"{module}.weight" for module in (*detector.by_class, *detector.by_point, "roi_heads.keypoint_head.0")]
    mouse, two = {"names": ["snout", "tail"]}, ("mouse", "rat")
    for classes, skeleton, expected in (
        (("person",), None, []),
        (("mouse",), mouse, names[2:3]),  # whatever the one class is called
        (two, None, names[:2]),
        (two, mouse, names[:3]),
    ):
        skipped = []
        change = coco._of_its_own(detector, KeypointRCNN(classes, skeleton=skeleton), skipped)
        assert [name for name in names if change(name, tensor) is None] == expected
        assert len(skipped) == (len(classes) > 1) + (skeleton is not None)
        assert all(line.endswith("start from random weights") for line in skipped)
