"""EfficientPose from its published files: the heat maps of the original networks on four images, and `pose_person`."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from visiontasks import build, predict
from visiontasks.backbones.efficientpose import efficientpose
from visiontasks.data.images import read_image, write_image
from visiontasks.errors import UserError
from visiontasks.weights import efficientpose as published

FOLDER = Path(__file__).resolve().parents[2] / "../shared/weights/efficientpose"
needs_files = pytest.mark.skipif(not FOLDER.is_dir(), reason="needs ../shared/weights/efficientpose")


def file_of(variant):
    return str(FOLDER / f"EfficientPose{variant}.h5")


def recipe_of(variant, *words):
    size = {"RT": 224, "I": 256}[variant]
    words = (f"backbone.name=efficientpose_{variant.lower()}", f"data.size=[{size},{size}]", *words)
    return build.recipe("pose_person", [f"weights={file_of(variant)}", *words])[0]


def images_of(variant, kind):
    """What `kind` of the reference holds of each of the four images."""
    with np.load(FOLDER / "reference.npz") as reference:
        names = sorted({key.split("/")[1] for key in reference if key.startswith(f"{variant}/im")})
        assert len(names) == 4
        return [reference[f"{variant}/{name}/{kind}"] for name in names]


@needs_files
@pytest.mark.parametrize(("variant", "numbers"), [("RT", 447_948), ("I", 707_400)])
def test_the_recipe_has_the_heat_maps_and_keypoints_of_the_published_networks(variant, numbers):
    recipe = recipe_of(variant)
    build.check_complete(recipe)
    model = build.model(recipe)
    assert model.count_params() == numbers
    (head,) = model.heads.values()
    images = np.stack(images_of(variant, "input"))
    outputs = model(images)
    got = keras.ops.convert_to_numpy(outputs["maps"])
    assert got.dtype == "float32"
    np.testing.assert_allclose(got, images_of(variant, "heat_low"), atol=1e-3)  # stored in steps of 1 / 2048
    # theirs are cells of maps enlarged by eight and smoothed: a flat peak may move by a cell of the small map, 8 pixels
    points = keras.ops.convert_to_numpy(model.decode(outputs)["keypoints"])[:, 0]
    away = np.linalg.norm(points[..., :2] - images_of(variant, "joints_xy"), axis=-1)
    sure = np.float32(images_of(variant, "joint_scores")) > 0.3
    assert np.median(away[sure]) < 1 and away[sure].max() < 8, away.round(1)
    assert tuple(head.skeleton) == (*np.load(FOLDER / "reference.npz")["joints_names"].tolist(),)


@needs_files
def test_the_recipe_predicts_for_a_photograph_without_training(tmp_path, monkeypatch):
    (image, *_), (expected, *_) = images_of("RT", "input"), images_of("RT", "joints_xy")
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "photo.png", image)
    words = [f"weights={file_of('RT')}", "source=photo.png", "maps=true"]
    assert predict.predict(["recipe=pose_person", *words]) == 0
    (record,) = json.loads(Path("predictions/predictions.json").read_text(encoding="utf-8"))
    (person,) = record["pose_heatmap"]
    assert person["class"] == "person"
    # the whole image is the object, with some room around it: the network sees it smaller than in the reference
    found = person["keypoints"]["head_top"]
    assert np.linalg.norm(np.subtract(found[:2], expected[0])) < 12
    drawn = read_image("predictions/photo.png")
    assert drawn.shape[1] > 2 * image.shape[1]  # the heat maps beside it


@needs_files
def test_on_other_keypoints_the_heat_maps_are_to_be_trained():
    recipe = recipe_of("RT", "head.skeleton={names: [nose, left_hand, right_hand]}", "head.classes=[person]")
    with pytest.warns(UserWarning, match="other keypoints than MPII's: nose, left_hand"):
        model = build.model(recipe)
    stem = model.backbone.get_layer("stem_conv_res1").kernel
    np.testing.assert_array_equal(stem, published.read_efficientpose(file_of("RT"))["stem_conv_res1/kernel"])


@needs_files
def test_another_variant_s_file_does_not_fit():
    with pytest.raises(UserError, match="does not fit efficientpose_rt"):
        efficientpose("rt", file_of("I"))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["weights=coco"], "weights: expected a published EfficientPose file"),
        (["head={name: yolo}", "data.resize=letterbox"], "expected the published network's head"),
        (["head.layers=1"], "head.layers: expected 0"),
        (["head.simcc={}"], "head.simcc: expected None"),
        (["head.loss=softmax"], "head.loss: expected 'squared'"),
        (["head.level=C2"], "head.level: expected 'C3'"),
        (["head={name: pose_heatmap, layers: 0, classes: [dog]}"], "weights that must be trained"),
        (["weights=null"], "weights that must be trained"),
    ],
)
def test_parts_that_are_not_the_published_network_are_refused(words, text):
    with pytest.raises(UserError, match=text):
        build.check_complete(build.recipe("pose_person", words)[0])


def test_a_missing_file_says_where_it_comes_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="github.com/daniegr/EfficientPose.*EfficientPoseRT.h5.*no such file"):
        build.model(build.recipe("pose_person")[0])


@needs_files
@pytest.mark.parametrize("variant", ["RT", "I"])
def test_what_is_left_out_is_bilinear_enlargement_by_two(variant):
    arrays = published.read_h5_file(FOLDER / f"EfficientPose{variant}.h5")
    rows = np.outer([0.25, 0.75, 0.75, 0.25], [0.25, 0.75, 0.75, 0.25])
    for layer in ("upscaled_deconv1", "upscaled_deconv2", "upscaled_confs"):
        np.testing.assert_array_equal(arrays[f"{layer}/kernel"], rows[:, :, None, None] * np.eye(16))
        assert not arrays[f"{layer}/bias"].any()
