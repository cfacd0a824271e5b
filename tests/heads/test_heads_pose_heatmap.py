"""The head of one object an image: what it learns, and that its predictions of the truth are the truth."""

from pathlib import Path

import fakes
import keras
import numpy as np
import pytest
from keras import ops

from visiontasks import build
from visiontasks.data.pipeline import Loader
from visiontasks.data.sources.coco import Coco
from visiontasks.data.sources.shapes import Shapes
from visiontasks.errors import RecipeError
from visiontasks.heads.pose_heatmap import PoseHeatmap
from visiontasks.model import VisionModel
from visiontasks.ops import heatmaps, simcc
from visiontasks.registry.catalog import tasks_of

SHARED = Path(__file__).resolve().parents[2] / "../shared/data"
FORMS = {"squared": {}, "quarter": {"refinement": "quarter"}, "softmax": {"loss": "softmax"}, "simcc": {"simcc": {}}}
FIELDS = ("classes", "boxes", "keypoints")


def sources():
    yield "figures", lambda: Shapes(12, scene="figures", objects=(1, 3))
    for folder in ("lsp", "coco-mini"):
        files = sorted((SHARED / folder / "annotations").glob("person_keypoints_val*.json"))
        yield folder, lambda files=files: Coco(str(files[0])) if files else pytest.skip(f"needs {SHARED}")


def truth(head, targets):
    """Raw outputs that a perfect network gives."""
    points, labeled = targets["keypoints"][..., :2], targets["keypoints"][..., 2] > 0
    size = head._taps["image"].size
    if head.simcc:
        split, sigma = head.simcc["split"], head.simcc["sigma"]
        rows = points[:, 0] * split
        return {
            name: ops.log(ops.maximum(simcc.targets(rows[..., axis], int(size[1 - axis] * split), sigma), 1e-12))
            for axis, name in enumerate("xy")
        }
    cells = tuple(int(length / head.stride) for length in size)
    maps = heatmaps.gaussians(points / head.stride, labeled, cells, head.sigma)
    maps = ops.log(ops.maximum(maps, 1e-12)) if head.loss == "softmax" else maps
    return {"maps": maps, "size": np.tile(np.float32(size), (len(points), 1))}


def model_of(skeleton, size, **given):
    network = fakes.backbone(size, levels=(1, 2, 3, 4, 5))
    return VisionModel(network, PoseHeatmap(("person",), skeleton=skeleton, filters=8, **given))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["figures", "lsp", "coco-mini"])
def test_what_is_drawn_from_the_truth_is_read_as_the_truth(name, form):
    source = dict(sources())[name]()
    loader = Loader(source, fields=FIELDS, size=(256, 192), batch=16, resize="object", workers=0)
    model = model_of(loader.names["keypoints"], loader.size, **FORMS[form])
    (head,) = model.heads.values()
    (task,) = tasks_of(model).values()
    off, scores, count = [], [], 0
    for batch, samples in loader.with_samples():
        predictions = keras.tree.map_structure(ops.convert_to_numpy, head.decode(truth(head, batch)))
        for row, sample in enumerate(samples):
            placement = loader.placement(sample)
            restored = task.restore({key: value[row] for key, value in predictions.items()}, placement)
            labeled = batch["keypoints"][row, 0, :, 2] > 0  # those that the canvas shows
            distances = np.linalg.norm(restored["keypoints"][0, :, :2] - sample.keypoints[0, :, :2], axis=-1)
            off.append(distances[labeled] * placement.scale[0])  # in pixels of the canvas
            scores.append(restored["keypoints"][0, labeled, 2])
        count += len(samples)
        if count > 60:
            break
    off, scores = np.concatenate(off), np.concatenate(scores)
    assert len(off) > 100 and scores.min() > 0.5
    if form == "quarter":  # which is off by up to a quarter of a cell on each axis, but at the border
        assert np.quantile(off, 0.98) <= np.sqrt(2) * 0.25 * head.stride + 0.05
    else:
        assert off.max() < 0.5


@pytest.mark.parametrize("form", FORMS)
def test_the_loss_is_least_at_the_truth_and_what_is_not_labeled_teaches_nothing(form):
    batch = fakes.images(4, (64, 64))
    batch["keypoints"][:, :, 1, 2] = 0
    model = model_of(fakes.SKELETON, (64, 64), **FORMS[form])
    (head,) = model.heads.values()

    def loss(outputs, **changes):
        term = head.compute_losses({**batch, **changes}, outputs)["keypoints"]
        return float(term.total), float(term.count)

    outputs = truth(head, batch)
    least, count = loss(outputs)
    assert count == 4 * 4 and abs(least) < 1e-3 * count
    assert loss(model(batch["image"]))[0] > 0.5 * count  # near 1 per keypoint, or more
    moved = batch["keypoints"].copy()
    moved[:, :, 1, :2] += 9
    assert loss(outputs, keypoints=moved) == (least, count)
    moved[:, :, 2, :2] += 9
    assert loss(outputs, keypoints=moved)[0] > 0.1 * count
    assert loss(outputs, classes=np.full_like(batch["classes"], -1)) == (0, 0)


def test_an_object_has_a_box_around_the_keypoints_that_were_found():
    model = model_of(fakes.SKELETON, (64, 64))
    (head,) = model.heads.values()
    batch = fakes.images(1, (64, 64))
    batch["keypoints"][:, :, 0, 2] = 0  # its map stays empty
    found = keras.tree.map_structure(ops.convert_to_numpy, head.decode(truth(head, batch)))
    points = batch["keypoints"][0, 0, 1:, :2]
    np.testing.assert_allclose(found["boxes"][0, 0], [*points.min(axis=0), *points.max(axis=0)], atol=0.6)
    np.testing.assert_allclose(found["scores"][0, 0], found["keypoints"][0, 0, :, 2].mean())
    assert found["valid"].all() and found["keypoints"][0, 0, 0, 2] < 0.2 < 0.9 < found["keypoints"][0, 0, 1:, 2].min()


def test_it_needs_one_object_an_image():
    for name, words in (("pose_heatmap", ["data.resize=letterbox"]), ("keypoint_rcnn", ["data.resize=object"])):
        with pytest.raises(RecipeError, match=r"^data\.resize: expected "):
            build.check(build.read(name, words))


def test_simcc_needs_a_size():
    with pytest.raises(ValueError, match="simcc: the image's height and width must be known"):
        model_of(fakes.SKELETON, (None, None), simcc={})
