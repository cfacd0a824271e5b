"""The mask branch: what it learns from, and what it leaves out."""

import inspect
import re

import fakes
import keras
import numpy as np
import pytest
from families import NARROW
from keras import ops

from visiontasks.arguments import describe
from visiontasks.heads.mask_rcnn import MaskRCNN
from visiontasks.heads.rcnn import RCNN
from visiontasks.heads.rcnn_branches import eighths_of
from visiontasks.heads.rcnn_masks import Mask, MaskBranch
from visiontasks.heads.rcnn_points import PointBranch
from visiontasks.instance_masks import NO_MASK
from visiontasks.model import VisionModel
from visiontasks.weights import rcnn

CLASSES, COUNT, CELLS = 3, 64, 4


def branch(**given):
    keras.utils.set_random_seed(0)
    made = MaskBranch(CLASSES, **{"filters": 8, "layers": 2, "bins": CELLS, **given})
    made.build({2: (None, None, None, 6)}, (None, None, 4))
    made.logits.kernel.assign(np.random.default_rng(0).normal(size=made.logits.kernel.shape))
    return made


def inputs(images=2, seed=0):
    rng = np.random.default_rng(seed)
    pyramid = {2: rng.normal(size=(images, 16, 16, 6)).astype("float32")}
    corners = rng.uniform(0, 40, (images, COUNT, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(4, 20, corners.shape)], axis=-1).astype("float32")
    return pyramid, boxes, rng.integers(0, CLASSES, (images, COUNT)).astype("int32")


def test_an_argument_makes_a_faster_r_cnn_a_mask_r_cnn():
    plain, masks, short = RCNN(3), RCNN(3, mask={"filters": 16}), MaskRCNN(3)
    assert (plain.task, plain.fields) == ("detection", ("classes", "boxes"))
    for head in (masks, short):
        assert (head.task, head.fields) == ("instances", ("classes", "boxes", "instance_masks"))
        assert head.loss_terms[-1] == "mask" and plain.loss_terms == head.loss_terms[:-1]
    assert masks.branches[0].upsample.filters == 16 and short.branches[0].upsample.filters == 256
    assert RCNN.from_config(masks.get_config()).branches[0].upsample.filters == 16
    for wrong, message in (
        ({"filter": 3}, "There is no 'filter'. Did you mean 'filters'?"),
        ({"bins": 0}, "'bins': expected a whole number from 1 to 64, got 0."),
    ):
        with pytest.raises(ValueError, match=f"^mask: expected a mapping with any of .*{re.escape(message)}"):
            MaskRCNN(3, mask=wrong)


def test_the_options_of_a_recipe_and_of_torchvision_are_the_branches_arguments():
    """They are written in three places, because a recipe is checked without importing Keras."""
    branches = {
        name: argument
        for made in (MaskBranch, PointBranch)
        for name, argument in inspect.signature(made.__init__).parameters.items()
        if name not in ("self", "classes", "kwargs")
    }
    assert describe(Mask) == f"a mapping with any of {', '.join(branches)}"
    assert {name: branches[name].default for name in rcnn.MASK} == rcnn.MASK


def test_a_box_has_the_mask_of_its_class_however_many_others_there_are():
    made, (pyramid, boxes, classes) = branch(), inputs()
    every = ops.convert_to_numpy(made(pyramid, boxes, classes))
    assert every.shape == (2, COUNT, 2 * CELLS, 2 * CELLS)
    for count in (0, 1, 9, 20, 40, 50):  # of each number of boxes that is computed
        some = np.where(np.arange(COUNT) < count, classes, -1)
        np.testing.assert_allclose(
            ops.convert_to_numpy(made(pyramid, boxes, some))[:, :count], every[:, :count], atol=1e-4
        )
    others = ops.convert_to_numpy(made(pyramid, boxes, (classes + 1) % CLASSES))
    assert (np.abs(others - every).max(axis=(2, 3)) > 0.1).all()
    agnostic = branch(agnostic=True)
    one, other = (ops.convert_to_numpy(agnostic(pyramid, boxes, c)) for c in (classes, (classes + 1) % CLASSES))
    np.testing.assert_allclose(one, other)


@pytest.mark.parametrize(("count", "eighths"), [(8, [8]), (24, [4, 8]), (64, [2, 4, 6, 8]), (128, [1, 2, 3, 4, 6, 8])])
def test_of_few_boxes_fewer_numbers_are_computed(count, eighths):
    assert eighths_of(count) == eighths


def test_larger_masks():
    (pyramid, boxes, classes), made = inputs(), branch(bins=28)
    logits = made(pyramid, boxes[:, :2], classes[:, :2])
    assert logits.shape == (2, 2, 56, 56)
    masks = ops.convert_to_numpy(made.decode(logits, {"valid": np.bool_([[True, False]] * 2)})["masks"])
    assert masks[:, 0].all() and not masks[:, 1].any()


def test_statistics_are_of_boxes_with_an_object():
    made, (pyramid, boxes, classes) = branch(batch_norm=True), inputs()
    some = np.where(np.arange(COUNT) < 3, classes, -1)
    moved = boxes + np.where(np.arange(COUNT) < 3, 0, 17).astype("float32")[:, None]
    first, second = (made(pyramid, where, some, training=True) for where in (boxes, moved))
    np.testing.assert_allclose(ops.convert_to_numpy(first)[:, :3], ops.convert_to_numpy(second)[:, :3], atol=1e-4)
    assert np.abs(ops.convert_to_numpy(made.norms[0].moving_mean)).max() > 0
    third = made(pyramid, boxes, classes, training=True)
    assert np.abs(ops.convert_to_numpy(first)[:, :3] - ops.convert_to_numpy(third)[:, :3]).max() > 1e-3


def test_an_object_without_a_mask_teaches_its_box_alone():
    keras.utils.set_random_seed(0)
    model = VisionModel(fakes.backbone(), MaskRCNN(fakes.CLASSES, **NARROW["mask_rcnn"]))
    (head,), batch = model.heads.values(), fakes.images(4)
    outputs = model(batch["image"], training=True)
    every = head.compute_losses(batch, outputs, training=False)
    partly = {**batch, "instance_masks": batch["instance_masks"].copy()}
    partly["instance_masks"][:2] = NO_MASK
    some = head.compute_losses(partly, outputs, training=False)
    assert 0 < float(some["mask"].count) < float(every["mask"].count)
    none = head.compute_losses({**batch, "instance_masks": np.full_like(batch["instance_masks"], NO_MASK)}, outputs)
    assert float(none["mask"].count) == float(none["mask"].total) == 0
    for term in every.keys() - {"mask"}:
        np.testing.assert_allclose(float(some[term].mean), float(every[term].mean), rtol=1e-6)
