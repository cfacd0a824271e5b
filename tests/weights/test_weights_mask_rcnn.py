"""Equal to torchvision's Mask R-CNN on ResNet-50: boxes, masks, pasted masks, losses, gradients, seeded weights."""

import keras
import numpy as np
import parity
import pytest

from visiontasks import api
from visiontasks.heads import rcnn_masks
from visiontasks.heads.mask_rcnn import MaskRCNN
from visiontasks.inference.pasting import pasted
from visiontasks.instance_masks import InstanceMasks
from visiontasks.model import VisionModel
from visiontasks.ops.masks import mask_targets
from visiontasks.weights import checkpoint, rcnn

# {torchvision's name: (our head's arguments, the grids of its file, parameters with COCO's 91 classes)}
FORMS = {
    "maskrcnn_resnet50_fpn": (rcnn.HEAD, rcnn.GRIDS, 44_401_393),
    "maskrcnn_resnet50_fpn_v2": (rcnn.HEAD_V2 | {"mask": {"batch_norm": True}}, rcnn.GRIDS_V2, 46_359_409),
}
TERMS = {"objectness": "objectness", "rpn_box": "rpn_box_reg", "classification": "classifier"}
TERMS = {ours: f"loss_{theirs}" for ours, theirs in (TERMS | {"localization": "box_reg", "mask": "mask"}).items()}


@pytest.fixture(scope="module", params=FORMS)
def form(request):
    return request.param


@pytest.fixture(scope="module")
def reference(form, tmp_path_factory):
    return parity.detection(tmp_path_factory.mktemp("mask_rcnn"), form)


@pytest.fixture(scope="module")
def model(form, reference):
    arguments, grids, _ = FORMS[form]
    head = MaskRCNN(4, **arguments, **parity.RCNN_COUNTS, detections=30)
    # the script's random choice is of the first ones
    head.keys = lambda shape, training: keras.ops.expand_dims(keras.ops.arange(shape[1], dtype="float32"), 0)
    model = VisionModel(api.backbone("resnet50", norm="frozen_batch"), head)
    assert checkpoint.load_whole(model, reference[1], rcnn.layer_of, grids=grids) == []
    for layer in head._flatten_layers():  # the script trains with all batch norms as they are
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    return model


@pytest.mark.parametrize("form", FORMS, indirect=False)
def test_it_has_torchvisions_parameters(form, without_weights):
    arguments, _, count = FORMS[form]
    network = api.backbone("resnet50", input_shape=(64, 64, 3), norm="batch" if "v2" in form else "frozen_batch")
    model = VisionModel(network, MaskRCNN(90, **arguments))
    learned = ("kernel", "bias", "gamma", "beta") if "v2" in form else ("kernel", "bias")
    assert sum(np.prod(weight.shape) for weight in model.weights if weight.path.endswith(learned)) == count


@pytest.mark.parametrize("images", ["", "b_", "photographs0_"])
def test_masks_of_the_final_boxes(model, reference, images):
    expected = parity.outputs(reference[0], images)
    predictions = model.decode(model(expected["images"]))
    parity.check_final_boxes(predictions, expected)
    found = {key: keras.ops.convert_to_numpy(value) for key, value in predictions.items()}
    size, start = expected["images"].shape[1:3], 0
    for i in range(2):
        boxes, classes = (expected[f"final_{key}{i}"] for key in ("boxes", "classes"))
        raw = expected["raw_masks"][start : start + len(boxes)]
        start += len(boxes)
        theirs = 1 / (1 + np.exp(-np.take_along_axis(raw, (classes + 1)[:, None, None, None], axis=1)[:, 0]))
        assert theirs.std() > 0.2
        # two whose scores differ by less than rounding may have changed places
        apart = np.abs(found["boxes"][i][None, : len(boxes)] - boxes[:, None]).max(axis=-1)
        apart += 1e3 * (found["classes"][i][None, : len(boxes)] != classes[:, None])
        order = apart.argmin(axis=1)
        assert len(set(order)) == len(order)
        np.testing.assert_allclose(found["masks"][i][order], theirs, atol=1e-3)
        whole = expected[f"final_masks{i}"]
        ours = np.asarray(pasted(found["masks"][i][order][: len(whole)], boxes[: len(whole)], size, whole_pixels=True))
        differs = ours != (whole >= 0.5)
        assert whole.any() and (np.abs(whole[differs] - 0.5) < 1e-3).all()


def test_losses_and_gradients(model, reference, monkeypatch):
    """With the targets that torchvision samples from whole masks."""
    whole = reference[0]["masks"]

    def of_whole(crops, boxes, regions, size):
        boxes, regions = (keras.ops.convert_to_numpy(x) for x in (boxes, regions))
        targets = np.zeros((*regions.shape[:2], size, size), np.float32)
        for image, rows in enumerate(regions):
            owner = np.abs(reference[0]["boxes"][image][None] - boxes[image][:, None]).max(axis=-1).argmin(axis=1)
            for number, region in enumerate(rows):
                targets[image, number] = roi_align(whole[image][owner[number]], region, size)
        return keras.ops.convert_to_tensor(targets)

    monkeypatch.setattr(rcnn_masks, "mask_targets", of_whole)
    parity.check_losses_and_gradients(model, reference[0], rcnn.layer_of, TERMS, crops(reference[0], 112))


def test_the_loss_of_crops_is_nearly_that_of_whole_masks(model, reference):
    expected = reference[0]
    outputs = model(expected["images"], training=True)
    targets = {"boxes": expected["boxes"], "classes": expected["classes"].astype("int32")}
    for size, allowed in ((28, 0.02), (112, 0.02)):
        losses = model.heads["mask_rcnn"].compute_losses(targets | crops(expected, size), outputs)
        np.testing.assert_allclose(losses["mask"].mean, expected["loss_loss_mask"], rtol=allowed)


def test_a_target_from_crops_is_that_of_the_whole_mask_but_for_its_edge(reference):
    """The mean difference of a cell by the size of the box, from what torchvision samples, off by half a pixel."""
    expected, rng, off = reference[0], np.random.default_rng(0), {}
    for image in range(2):
        boxes = expected["boxes"][image]
        regions = boxes + (boxes[:, [2, 3, 2, 3]] - boxes[:, [0, 1, 0, 1]]) * rng.uniform(-0.2, 0.2, boxes.shape)
        cropped = crops(expected, 112)["instance_masks"][image]
        found = keras.ops.convert_to_numpy(mask_targets(cropped[None], boxes[None], np.float32(regions)[None], 28)[0])
        for box, mask, region, ours in zip(boxes, expected["masks"][image], regions, found, strict=True):
            side = round(float(np.sqrt((box[2] - box[0]) * (box[3] - box[1]))))
            off[side] = np.abs(ours - roi_align(mask, region - 0.5, 28)).mean()  # at the pixels' centers
    assert max(off.values()) < 0.02 and np.mean([v for side, v in off.items() if side > 60]) < 0.005, off


def crops(expected, size):
    masks = [
        InstanceMasks.of(one).crops(boxes, size)
        for one, boxes in zip(expected["masks"], expected["boxes"], strict=True)
    ]
    return {"instance_masks": np.stack(masks)}


def roi_align(mask, region, size):
    """torchvision's targets: one channel, aligned=False, as many points in a cell as it has pixels."""
    height, width = mask.shape
    x1, y1, x2, y2 = (float(v) for v in region)
    cell_w, cell_h = max(x2 - x1, 1.0) / size, max(y2 - y1, 1.0) / size
    across, down = (int(np.ceil(extent)) for extent in (cell_w, cell_h))
    xs = x1 + (np.arange(size * across) + 0.5) * cell_w / across
    ys = y1 + (np.arange(size * down) + 0.5) * cell_h / down
    return (
        (_shares(ys, height) @ mask.astype(np.float64) @ _shares(xs, width).T)
        .reshape(size, down, size, across)
        .mean((1, 3))
    )


def _shares(points, length):
    inside = (points >= -1) & (points <= length)
    points = np.clip(points, 0, length - 1)
    return np.maximum(1 - np.abs(points[:, None] - np.arange(length)), 0) * inside[:, None]
