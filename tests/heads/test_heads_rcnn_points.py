"""PointRend's branch: what it learns at points, and how it refines a mask."""

import fakes
import keras
import numpy as np
import pytest
from families import NARROW
from keras import ops

from visiontasks.heads.mask_rcnn import MaskRCNN
from visiontasks.heads.rcnn_branches import FEWEST
from visiontasks.heads.rcnn_points import PointBranch
from visiontasks.instance_masks import NO_MASK
from visiontasks.model import VisionModel

CLASSES, COUNT, BINS = 3, 6, 4


def branch(**given):
    keras.utils.set_random_seed(0)
    made = PointBranch(CLASSES, **{"filters": 8, "layers": 1, "bins": BINS, "points": 12, **given})
    made.build({2: (None, None, None, 5), 3: (None, None, None, 5)}, (None, None, 4))
    return made


def inputs(images=2):
    rng = np.random.default_rng(0)
    pyramid = {n: rng.normal(size=(images, 64 // 2**n, 64 // 2**n, 5)).astype("float32") for n in (2, 3)}
    corners = rng.uniform(0, 30, (images, COUNT, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(8, 30, corners.shape)], axis=-1).astype("float32")
    return pyramid, boxes, rng.integers(0, CLASSES, (images, COUNT)).astype("int32")


def test_refined_cells_are_predicted_and_the_others_interpolated():
    made, (pyramid, boxes, classes) = branch(refine=2), inputs()
    made.logits.kernel.assign(np.random.default_rng(0).normal(size=made.logits.kernel.shape))
    raw = {key: ops.convert_to_numpy(value) for key, value in made.learned(pyramid, boxes, classes).items()}
    assert raw["logits"].shape == (2, COUNT, 8, 8)
    assert raw["points"].shape == (2, COUNT, 12, 2) and raw["point_logits"].shape == (2, COUNT, 12)
    assert raw["points"].min() >= 0 and raw["points"].max() <= 1
    # without weights and with a bias, every refined cell has the bias
    made.point_logits.kernel.assign(np.zeros(made.point_logits.kernel.shape))
    made.point_logits.bias.assign(np.arange(CLASSES + 1) + 50.0)
    raw = ops.convert_to_numpy(made(pyramid, boxes, classes))
    assert raw.shape == (2, COUNT, 32, 32)
    cells = np.abs(raw - (classes + 51.0)[..., None, None]) < 1e-3
    # 48 of the 16² cells, of which some are spread by the next doubling, and 48 of the 32²
    assert (cells.sum(axis=(2, 3)) >= 48).all() and not cells.all()
    masks = made.decode(raw, {"valid": np.ones((2, COUNT), bool)})["masks"]
    np.testing.assert_allclose(masks, 1 / (1 + np.exp(-raw)), atol=1e-6)


def test_a_point_learns_what_its_crop_has_there():
    made, (pyramid, boxes, classes) = branch(), inputs()
    left = np.zeros((16, 16), np.uint8)
    left[:, :8] = 1  # the left half of the object
    crops = np.stack([np.broadcast_to(left, (COUNT, 16, 16))] * 2).copy()
    crops[0, 1] = NO_MASK
    matches = np.broadcast_to(np.arange(COUNT, dtype="int32"), (2, COUNT))
    samples = {"boxes": boxes, "targets": boxes, "labels": classes + 1, "matches": matches}
    raw = made.learned(pyramid, boxes, classes, training=True)
    known = np.where(np.arange(2)[:, None] * COUNT + np.arange(COUNT) == 1, 0, 1)
    x = ops.convert_to_numpy(raw["points"])[..., 0]
    for sign, least, most in ((1, 0.0, 0.02), (-1, 5.0, 20.0)):
        # cells next to the middle are between the two
        logits = np.where(np.abs(x - 0.5) < 1 / 16, 0.0, np.where(x < 0.5, 10.0, -10.0) * sign)
        term = made.compute_losses(
            {**raw, "point_logits": logits.astype("float32")}, samples, {"instance_masks": crops}
        )
        term = term["points"]
        count = float(ops.convert_to_numpy(term.count))
        near = ((np.abs(x - 0.5) < 1 / 16) * known[..., None]).sum() * np.log(2)
        assert count == known.sum() * 12
        assert least <= (float(ops.convert_to_numpy(term.total)) - near) / count <= most
    # a box beside its object: nothing of the mask lies there
    far = {**samples, "boxes": boxes + np.float32([100, 0, 100, 0])}
    logits = np.full((2, COUNT, 12), -10, "float32")
    term = made.compute_losses({**raw, "point_logits": logits}, far, {"instance_masks": crops})["points"]
    assert float(ops.convert_to_numpy(term.total)) / float(ops.convert_to_numpy(term.count)) < 1e-3


def test_no_point_is_drawn_for_a_prediction(monkeypatch):
    made, (pyramid, boxes, classes) = branch(), inputs()

    def drawn(*args, **kwargs):
        raise AssertionError("drawn")

    monkeypatch.setattr(keras.random, "uniform", drawn)
    made(pyramid, boxes, classes, training=False)
    with pytest.raises(AssertionError, match="drawn"):
        made.learned(pyramid, boxes, classes, training=False)


def predicted(model, images):
    """Op by op: to trace takes longer."""
    return {key: ops.convert_to_numpy(value) for key, value in model.decode(model(images, training=False)).items()}


@pytest.mark.parametrize("further", [{}, {"batch_norm": True, "agnostic": True}], ids=["", "batch norm, agnostic"])
def test_a_recipe_s_argument_makes_it_and_it_learns_and_exports(further, tmp_path):
    keras.utils.set_random_seed(0)
    mask = {"filters": 8, "layers": 1, "bins": 4, "refine": 1, "points": 8, **further}
    # so few boxes that each branch has one graph
    head = MaskRCNN(fakes.CLASSES, **{**NARROW["mask_rcnn"], "detections": FEWEST, "mask": mask})
    assert isinstance(head.branches[0], PointBranch) and head.loss_terms[-2:] == ("mask", "points")
    assert isinstance(MaskRCNN.from_config(head.get_config()).branches[0], PointBranch)
    model, batch = VisionModel(fakes.backbone((32, 32)), head), fakes.images(4)
    tensorflow = keras.backend.backend() == "tensorflow"
    model.compile(keras.optimizers.Adam(1e-3), run_eagerly=tensorflow)
    history = model.fit(batch, batch_size=4, epochs=6, verbose=0).history
    assert history["points_loss"][-1] < history["points_loss"][0]
    before = predicted(model, batch["image"])
    assert before["masks"].shape[-2:] == (16, 16)
    model.save(tmp_path / "m.keras")
    after = predicted(keras.saving.load_model(tmp_path / "m.keras"), batch["image"])
    for key in before:
        np.testing.assert_array_equal(before[key], after[key])
    if tensorflow and not further:
        import tensorflow as tf

        model.export(tmp_path / "saved")
        program = tf.saved_model.load(tmp_path / "saved")
        model.compile()  # no longer op by op, whose rounding may choose other cells
        exported, traced = program.serve(batch["image"]), model.predict(batch["image"], verbose=0)
        for key in traced:
            np.testing.assert_allclose(exported[key], traced[key], rtol=1e-5, atol=1e-5, err_msg=key)


def test_points_alone_ask_for_it_too():
    assert MaskRCNN(3, mask={"points": 8}).branches[0].refine == 2
    with pytest.raises(ValueError, match="mask: .*refine"):
        MaskRCNN(3, mask={"refine": 0})
