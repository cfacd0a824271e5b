"""Faster R-CNN: what its second stage learns from, and what it must not: torchvision's parity shows the rest."""

import fakes
import keras
import numpy as np
import pytest
from keras import ops

from visiontasks.arguments import Classes, Count
from visiontasks.heads import rcnn_branches
from visiontasks.heads.rcnn import RCNN
from visiontasks.heads.rcnn_branches import Branch
from visiontasks.losses.reduction import over
from visiontasks.model import VisionModel
from visiontasks.ops import matching
from visiontasks.ops.roi_align import roi_align
from visiontasks.sample import NO_OBJECT


def made(**arguments):
    keras.utils.set_random_seed(0)
    small = {"filters": 8, "units": 16, "proposals": 40, "training_proposals": 60, "samples": 16}
    model = VisionModel(fakes.backbone(), RCNN(3, **{**small, **arguments}))
    return model, next(iter(model.heads.values()))


def labels():
    """One object, two, none; and an image that is not labeled."""
    boxes, classes = np.zeros((4, 3, 4), "float32"), np.full((4, 3), NO_OBJECT, "int32")
    boxes[0, 1], classes[0, 1] = [3, 4, 13, 12], 2
    boxes[1, :2], classes[1, :2] = [[8, 8, 24, 24], [20, 2, 31, 30]], [0, 1]
    known = np.tile(np.array([[True]] * 3 + [[False]]), 3)
    return {"boxes": boxes, "classes": classes, "known": known, "ignored": np.zeros((4, 3), bool)}


def iou(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0, width) * max(0, height)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def test_samples():
    model, head = made(positives=0.5)
    targets = labels()
    outputs = model(fakes.images(4)["image"], training=True)
    samples = {key: ops.convert_to_numpy(value) for key, value in head.sample(targets, outputs, True).items()}
    assert samples["boxes"].shape == (4, 16, 4)
    assert not samples["valid"][3].any() and not samples["labels"][3].any()
    assert samples["valid"][:3].all() and not samples["labels"][2].any()
    for i in range(2):
        objects = samples["labels"][i] > 0
        assert 0 < objects.sum() <= 8
        assert not (np.diff(objects.astype(int)) > 0).any()  # those with an object come first
        for box, label, match, target in zip(
            *(samples[key][i] for key in ("boxes", "labels", "matches", "targets")), strict=True
        ):
            overlaps = [
                iou(box, other) if number >= 0 else -1
                for other, number in zip(targets["boxes"][i], targets["classes"][i], strict=True)
            ]
            assert (max(overlaps) >= 0.5) == (label > 0)
            if label:
                assert match == np.argmax(overlaps) and label == targets["classes"][i, match] + 1
                np.testing.assert_array_equal(target, targets["boxes"][i, match])
    # untrained proposals rarely overlap an object: the ground-truth boxes are among what is learned from
    for box in targets["boxes"][1, :2]:
        assert (samples["boxes"][1] == box).all(-1).any()


def test_the_choice_is_drawn_anew_in_training_and_fixed_in_evaluation():
    model, head = made()
    outputs = model(fakes.images(4)["image"], training=True)
    drawn = [ops.convert_to_numpy(head.sample(labels(), outputs, t)["boxes"]) for t in (True, True, False, False)]
    assert (drawn[0] != drawn[1]).any()
    np.testing.assert_array_equal(drawn[2], drawn[3])
    # and the same for an image whatever the rest of the batch
    half = keras.tree.map_structure(lambda x: x[:2], outputs)
    alone = head.sample({key: value[:2] for key, value in labels().items()}, half, False)
    np.testing.assert_array_equal(ops.convert_to_numpy(alone["boxes"]), drawn[2][:2])


def test_a_step_trains_both_stages_and_the_proposals_carry_no_gradient():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("takes gradients with TensorFlow")
    import tensorflow as tf

    model, head = made()
    images = fakes.images(4)["image"]
    with tf.GradientTape(persistent=True) as tape:
        terms = head.compute_losses(labels(), model(images, training=True))
        losses = {name: term.mean for name, term in terms.items()}
        second = losses["classification"] + losses["localization"]
        first = losses["objectness"] + losses["rpn_box"]
    of_proposals = [v.value for v in head.region_proposals.trainable_variables]
    of_branch = [v.value for v in head.boxes.trainable_variables]
    of_both = [v.value for v in (*head.pyramid.trainable_variables, *model.backbone.trainable_variables)]
    assert all(g is None for g in tape.gradient(second, of_proposals))
    assert all(g is None for g in tape.gradient(first, of_branch))
    for loss, variables in ((first, of_proposals), (second, of_branch), (first, of_both), (second, of_both)):
        gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
        assert all(np.isfinite(g).all() for g in gradients) and any(np.abs(g).max() > 0 for g in gradients)


def test_half_precision_ends_at_the_outputs():
    keras.config.set_dtype_policy("mixed_bfloat16")
    model, head = made()
    outputs = model(fakes.images(2)["image"])
    kinds = keras.tree.map_structure(lambda x: keras.backend.standardize_dtype(x.dtype), outputs)
    assert set(kinds["pyramid"].values()) == {"bfloat16"}
    assert {*kinds["objectness"], *kinds["deltas"], *kinds["regions"].values(), kinds["proposals"]} == {"float32"}


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_features_are_taken_at_the_boxes_themselves_in_half_precision(policy, monkeypatch):
    """Keras casts a layer's inputs to the compute dtype, in which 901.3 is 900."""
    keras.config.set_dtype_policy(policy)
    taken = []

    def recorded(pyramid, boxes, *args):
        taken.append(ops.convert_to_numpy(boxes))
        return roi_align(pyramid, boxes, *args)

    monkeypatch.setattr(rcnn_branches, "roi_align", recorded)
    branch = rcnn_branches.BoxBranch(2, bins=2, bin_samples=1, units=4)
    boxes = np.float32([[[901.3, 507.7, 913.2, 519.6], [1100.4, 2.3, 1112.9, 9.1]]])
    outputs = branch({2: ops.zeros((1, 300, 300, 3), branch.compute_dtype)}, ops.convert_to_tensor(boxes))
    (seen,) = taken
    assert seen.dtype == np.float32 and branch.compute_dtype == policy.removeprefix("mixed_")
    np.testing.assert_array_equal(seen, boxes)
    assert keras.backend.standardize_dtype(branch.hidden[0].compute_dtype) == branch.compute_dtype
    assert {keras.backend.standardize_dtype(value.dtype) for value in outputs.values()} == {"float32"}


def test_in_training_the_proposals_are_more_and_the_second_stage_waits_for_the_choice():
    model, head = made()
    images = fakes.images(2)["image"]
    learning, answering = model(images, training=True), model(images, training=False)
    assert learning["proposals"].shape == (2, 60, 4) and "regions" not in learning
    assert answering["proposals"].shape == (2, 40, 4) and answering["regions"]["boxes"].shape == (2, 40, 4, 4)
    # decoded nevertheless, for a metric that somebody watches in training
    assert model.decode(learning)["boxes"].shape == (2, 100, 4)


def test_each_class_has_boxes_of_its_own():
    """By hand: two proposals, one absent; each class moves its box by its own deltas."""
    _, head = made(detections=3)
    logits = np.log(np.float32([[[0.1, 0.6, 0.3, 1e-6], [0.1, 0.9, 1e-6, 1e-6]]]))
    deltas = np.zeros((1, 2, 4, 4), "float32")
    deltas[0, 0, 1, 0], deltas[0, 0, 2, 1] = 5, -2.5  # variances of 0.1: half a side, a quarter
    outputs = {"classes": logits, "boxes": deltas}
    boxes = np.float32([[[10, 10, 20, 30], [40, 40, 60, 60]]])
    proposals = {"proposals": boxes, "valid": np.array([[True, False]]), "size": np.float32([[100, 22]])}
    detections = head.decode({"regions": outputs, **proposals})
    detections = {key: ops.convert_to_numpy(value)[0] for key, value in detections.items()}
    np.testing.assert_array_equal(detections["valid"], [True, True, False])
    np.testing.assert_array_equal(detections["classes"], [0, 1, 0])
    np.testing.assert_allclose(detections["scores"], [0.6, 0.3, 0], rtol=1e-4)
    np.testing.assert_allclose(detections["boxes"][:2], [[15, 10, 22, 30], [10, 5, 20, 25]], atol=1e-4)


class Visibility(Branch):
    """A branch as a mask's or keypoints' would be: what each object's first keypoint says of its visibility."""

    fields = ("keypoints",)
    loss_terms = ("visibility",)

    def __init__(self, bins: Count, **kwargs):
        super().__init__(**kwargs)
        self.bins, self.dense = bins, keras.layers.Dense(1, name="dense")

    def build(self, pyramid_shape, boxes_shape):
        self.dense.build((None, None, self.bins**2 * pyramid_shape[1][-1]))

    def call(self, pyramid, boxes, classes, training=None):
        features = roi_align(pyramid, boxes, self.bins, 1)
        return self.dense(ops.reshape(features, (-1, boxes.shape[1], self.bins**2 * features.shape[-1])))[..., 0]

    def compute_losses(self, outputs, samples, targets):
        own = matching.take(targets["keypoints"][:, :, 0, 2], samples["matches"])
        return {"visibility": over(ops.square(outputs - own), samples["labels"] > 0)}

    def decode(self, outputs, detections):
        return {"visibility": ops.where(detections["valid"], outputs, 0.0)}


class VisibilityRCNN(RCNN):
    def __init__(self, classes: Classes, cells: Count = 3, **kwargs):
        super().__init__(classes, **kwargs)
        self.add_branch(Visibility(cells, name="visibility"))


def test_a_further_branch_learns_its_field_and_predicts_for_the_final_boxes(tmp_path):
    """A subclass says which branch, and nothing else: RCNN takes fields, terms, losses and predictions from it."""
    keras.utils.set_random_seed(0)
    small = {"filters": 8, "units": 16, "proposals": 40, "training_proposals": 60, "samples": 16, "positives": 0.5}
    model = VisionModel(fakes.backbone(), VisibilityRCNN(3, cells=2, score_threshold=0.0, detections=7, **small))
    (head,) = model.heads.values()
    assert head.fields == ("classes", "boxes", "keypoints") and head.name == "visibilityrcnn"
    assert head.loss_terms == ("objectness", "rpn_box", "classification", "localization", "visibility")
    with pytest.raises(ValueError, match=r"targets: \['keypoints'\] are missing"):
        without = {key: value for key, value in fakes.images(4).items() if key != "keypoints"}
        model.compute_loss(x={**without, **labels()}, y_pred={})
    batch = {**fakes.images(4), **labels(), "keypoints": np.zeros((4, 3, 1, 3), "float32")}
    batch["keypoints"][0, 1, 0, 2], batch["keypoints"][1, :2, 0, 2] = 2, [1, 2]
    seen, compute = [], Visibility.compute_losses
    outputs = model(batch["image"], training=True)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Visibility, "compute_losses", lambda self, *given: seen.append(given) or compute(self, *given))
        losses = head.compute_losses(batch, outputs, training=False)
    predicted, samples, _ = seen[0]
    assert predicted.shape == (4, 8)  # the samples with an object come first, half of them at most
    predicted, shown = (ops.convert_to_numpy(x) for x in (predicted, samples["boxes"]))
    labeled, matches = (ops.convert_to_numpy(samples[key]) for key in ("labels", "matches"))
    expected = ops.convert_to_numpy(head.sample(batch, outputs, False)["boxes"])[:, :8]
    np.testing.assert_array_equal(shown, expected)
    own = np.take_along_axis(batch["keypoints"][:, :, 0, 2], np.maximum(matches, 0), axis=1)
    expected = np.mean((predicted - own)[labeled > 0] ** 2)
    np.testing.assert_allclose(float(losses["visibility"].mean), expected, rtol=1e-5)
    model.compile(keras.optimizers.Adam(0.02), run_eagerly=keras.backend.backend() == "tensorflow")
    history = model.fit(batch, batch_size=4, epochs=15, verbose=0).history["visibility_loss"]
    assert np.mean(history[-5:]) < 0.5 * history[0], history
    detections = model.predict(batch["image"], verbose=0)
    assert detections["visibility"].shape == detections["scores"].shape == (4, 7) and detections["valid"].any()
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    (loaded,) = again.heads.values()
    assert type(loaded) is VisibilityRCNN and loaded.get_config() == head.get_config()
    predicted = again.predict(batch["image"], verbose=0)
    for key, value in detections.items():
        np.testing.assert_array_equal(predicted[key], value)
    again.fit(batch, batch_size=4, verbose=0)  # compiled as it was


@pytest.mark.parametrize("method", ["call", "compute_losses", "decode"])
def test_a_branch_without_a_method_is_an_error_that_names_it(method):
    arguments = {"call": (None, None, None), "compute_losses": (None, None, None), "decode": (None, None)}[method]
    with pytest.raises(NotImplementedError, match="Branch"):
        getattr(Branch(), method)(*arguments)


def test_two_branches_with_a_loss_term_of_one_name_are_an_error():
    head = VisibilityRCNN(3)
    with pytest.raises(ValueError, match=r"again: loss terms \['visibility'\] are another branch's"):
        head.add_branch(Visibility(2, name="again"))
