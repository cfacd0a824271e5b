"""YOLO's outputs and losses by hand and against slow loops; the published networks' sizes."""

import math

import fakes
import keras
import numpy as np
import pytest
from keras import ops

from visiontasks import api
from visiontasks.heads.yolo import YOLO
from visiontasks.model import VisionModel
from visiontasks.ops import anchors, assignment, boxes

SIDE, BINS = 64, 16
# borders in the middle of cells of 8 pixels, so that every distance from a centre is a whole number of strides
BOXES = np.float32([[4, 4, 36, 28], [44, 20, 60, 60]])
CLASSES = np.int32([2, 0])


def array(tensor):
    return ops.convert_to_numpy(tensor)


def empty_outputs(grids=((8, 8),), size=(SIDE, SIDE), count=1):
    """Raw outputs of zeros, or uniform distributions."""
    points, strides = anchors.anchor_points(grids, size)
    return {
        "distances": np.zeros((count, len(points), 4, BINS), "float32"),
        "classes": np.full((count, len(points), 3), -12, "float32"),
        "points": np.tile(points, (count, 1, 1)),
        "strides": np.tile(strides, (count, 1, 1)),
        "size": np.tile(np.float32(size), (count, 1)),
    }


def perfect():
    """Raw outputs of which every cell in a true box says that box and its class."""
    outputs = empty_outputs()
    for box, label in zip(BOXES, CLASSES, strict=True):
        for a, (x, y) in enumerate(outputs["points"][0]):
            if box[0] < x < box[2] and box[1] < y < box[3]:
                outputs["classes"][0, a, label] = 12
                for side, distance in enumerate((x - box[0], y - box[1], box[2] - x, box[3] - y)):
                    assert distance % 8 == 0
                    outputs["distances"][0, a, side, int(distance / 8)] = 40
    return outputs


def targets(count=1):
    """The two ground-truth boxes and two rows of padding."""
    padded = np.concatenate([BOXES, np.zeros((2, 4), "float32")])
    return {
        "boxes": np.tile(padded, (count, 1, 1)),
        "classes": np.tile(np.concatenate([CLASSES, np.int32([-1, -1])]), (count, 1)),
    }


def test_perfect_outputs_have_no_loss_and_decode_to_the_targets():
    head, outputs = YOLO(3, assigned=50), perfect()
    losses = {term: float(value.mean) for term, value in head.compute_losses(targets(), outputs).items()}
    assert max(losses.values()) < 1e-3, losses
    detections = {key: array(value)[0] for key, value in head.decode(outputs).items()}
    assert detections["valid"].sum() == 2 and len(detections["valid"]) == 300
    order = np.argsort(-detections["classes"][:2])
    np.testing.assert_array_equal(detections["classes"][:2][order], CLASSES)
    np.testing.assert_allclose(detections["boxes"][:2][order], BOXES, atol=1e-3)
    np.testing.assert_allclose(detections["scores"][:2], 1, atol=1e-4)


@pytest.mark.parametrize("what", ["distances", "classes"])
def test_a_worse_answer_has_a_larger_loss_of_its_own_term(what):
    head, outputs = YOLO(3, assigned=50), perfect()
    outputs[what] = np.roll(outputs[what], 1, axis=-1) * 0.5
    losses = {term: float(value.mean) for term, value in head.compute_losses(targets(), outputs).items()}
    changed = {"distances": ("box", "distance"), "classes": ("classification",)}[what]
    assert all(losses[term] > 0.1 for term in changed), losses


def test_two_classes_of_one_cell_are_two_boxes_unless_they_suppress_each_other():
    outputs = empty_outputs()
    outputs["classes"][0, 9, :2] = (3, 2)
    for agnostic, classes in ((False, [0, 1]), (True, [0])):
        detections = {key: array(value)[0] for key, value in YOLO(3, agnostic=agnostic).decode(outputs).items()}
        np.testing.assert_array_equal(detections["classes"][detections["valid"]], classes)


def expected(logits):
    shares = np.exp(logits.astype("float64") - logits.max(-1, keepdims=True))
    return (shares / shares.sum(-1, keepdims=True) * np.arange(logits.shape[-1])).sum(-1)


def slow_losses(outputs, labels, head):
    """All terms anchor by anchor; the assignment and the overlaps have their own tests."""
    rows, total = [], 0.0
    for row in range(len(labels["boxes"])):
        valid = labels["classes"][row] >= 0
        distances = expected(outputs["distances"][row]) * np.tile(outputs["strides"][row], 2)
        x, y = outputs["points"][row].T
        predicted = np.float32(
            np.stack([x - distances[:, 0], y - distances[:, 1], x + distances[:, 2], y + distances[:, 3]], -1)
        )
        shares = 1 / (1 + np.exp(-outputs["classes"][row].astype("float64")))
        matched = labels["boxes"][row]
        matches, aligned = assignment.task_aligned(
            np.float32(shares.T[np.maximum(labels["classes"][row], 0)]),
            boxes.iou(matched, predicted),
            boxes.contain(matched, outputs["points"][row]),
            valid,
            head.assigned,
            head.alpha,
            head.beta,
        )
        matches, aligned = array(matches), array(aligned)
        total += aligned.sum()
        sums = np.zeros(3)
        for a, match in enumerate(matches):
            wanted = np.zeros(shares.shape[-1])
            if match >= 0:
                wanted[labels["classes"][row][match]] = aligned[a]
                sums[0] += aligned[a] * (1 - float(boxes.paired_iou(predicted[a], matched[match], "ciou")))
                far = np.concatenate(
                    [outputs["points"][row][a] - matched[match][:2], matched[match][2:] - outputs["points"][row][a]]
                )
                for side in range(4):
                    logits = outputs["distances"][row][a, side].astype("float64")
                    logs = logits - np.log(np.exp(logits).sum())
                    place = min(max(far[side] / outputs["strides"][row][a, side % 2], 0), BINS - 1)
                    low = min(int(place), BINS - 2)
                    sums[1] -= aligned[a] / 4 * ((low + 1 - place) * logs[low] + (place - low) * logs[low + 1])
            sums[2] -= (wanted * np.log(shares[a]) + (1 - wanted) * np.log(1 - shares[a])).sum()
        rows.append(sums)
    gains = head.box_gain, head.distance_gain, head.class_gain
    return {
        term: gain * value / max(total, 1)
        for term, gain, value in zip(head.loss_terms, gains, np.sum(rows, axis=0), strict=True)
    }


def test_losses_against_a_slow_loop():
    rng = np.random.default_rng(0)
    outputs = empty_outputs(((8, 8), (4, 4), (2, 2)), count=3)
    outputs["distances"] = rng.normal(0, 2, outputs["distances"].shape).astype("float32")
    outputs["classes"] = rng.normal(-1, 2, outputs["classes"].shape).astype("float32")
    labels = targets(3)
    labels["boxes"][1, :2] += rng.uniform(-3, 3, (2, 4)).astype("float32")
    labels["classes"][2] = -1  # an image without objects
    head = YOLO(3)
    got, wanted = head.compute_losses(labels, outputs), slow_losses(outputs, labels, head)
    for term in head.loss_terms:
        np.testing.assert_allclose(float(got[term].mean), wanted[term], rtol=1e-4, err_msg=term)


def test_terms_follow_their_gains_and_the_background_is_learned():
    outputs, labels = perfect(), targets()
    outputs["distances"] *= 0.02
    plain = YOLO(3).compute_losses(labels, outputs)
    doubled = YOLO(3, box_gain=15.0, distance_gain=3.0, class_gain=1.0).compute_losses(labels, outputs)
    for term, value in plain.items():
        np.testing.assert_allclose(float(doubled[term].mean), 2 * float(value.mean), rtol=1e-6)
    labels["classes"][:] = -1
    nothing = YOLO(3).compute_losses(labels, outputs)
    assert float(nothing["box"].total) == float(nothing["distance"].total) == 0
    assert float(nothing["classification"].mean) > 1  # what is predicted with a score of almost 1 is no object


def test_levels_that_are_looked_at():
    def chosen(*names, **arguments):
        return YOLO(3, **arguments).taps(fakes.taps(dict.fromkeys((*names, "image"), (8, 8, 4))))

    assert chosen("C0", "C1", "C2") == ("C0", "C1", "C2", "image")
    assert chosen("C1", "C5", "C3", "C2", "C4", "C6", "top") == ("C3", "C4", "C5", "image")
    assert chosen("C2") == ("C2", "image")
    assert set(chosen("C3", "C4", "C5", levels=["C4", "C3"])) == {"C3", "C4", "image"}
    with pytest.raises(ValueError, match=r"yolo: needs 1 or more levels.*\['top', 'image'\]"):
        chosen("top")


@pytest.mark.parametrize("arguments", [{"bins": 1}, {"assigned": 0}, {"objects": 0.0}, {"variant": "xx"}])
def test_arguments_out_of_bounds_are_named(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        YOLO(3, **arguments)


@pytest.mark.parametrize("levels", [None, ["C2"], ["C1", "C4"]])
def test_sizes_that_no_stride_divides(levels):
    keras.utils.set_random_seed(0)
    backbone = fakes.backbone(levels=(1, 2, 3, 4, 5))
    model = VisionModel(backbone, YOLO(3, levels=levels))
    images = np.random.default_rng(0).integers(0, 256, (1, 97, 130, 3), dtype=np.uint8)
    outputs = model(images)
    chosen = levels or ["C3", "C4", "C5"]
    cells = sum(math.ceil(97 / 2 ** int(n[1])) * math.ceil(130 / 2 ** int(n[1])) for n in chosen)
    assert outputs["distances"].shape == (1, cells, 4, BINS) and outputs["classes"].shape == (1, cells, 3)
    points = array(outputs["points"])[0]
    assert (points > 0).all() and (points < (130, 97)).all()
    detections = array(model.decode(outputs)["boxes"])
    assert (detections >= 0).all() and (detections <= (130, 97, 130, 97)).all()


def test_class_scores_start_where_they_are_expected():
    keras.utils.set_random_seed(0)
    for size, cells in (((64, 64), (64, 16, 4)), ((None, None), (6400, 1600, 400))):
        model = VisionModel(fakes.backbone(size, levels=(3, 4, 5)), YOLO(4))
        network = next(iter(model.heads.values())).network
        for level, count in zip(("C3", "C4", "C5"), cells, strict=True):
            start = 1 / (1 + np.exp(-array(network.get_layer(f"{level}_class").bias)))
            np.testing.assert_allclose(start, min(0.1, 5 / (4 * count)), rtol=1e-4)


def test_an_object_between_the_centers_is_learned_by_the_nearest_cell():
    outputs = empty_outputs()
    head = YOLO(3)
    small = {"boxes": np.float32([[[13, 13, 19, 19], [0, 0, 0, 0]]]), "classes": np.int32([[1, -1]])}
    assert not array(boxes.contain(small["boxes"], outputs["points"]))[0, 0].any()
    losses = {key: float(value.mean) for key, value in head.compute_losses(small, outputs).items()}
    nothing = {"boxes": small["boxes"], "classes": np.int32([[-1, -1]])}
    background = {key: float(value.mean) for key, value in head.compute_losses(nothing, outputs).items()}
    assert losses["box"] > 0 and losses["distance"] > 0 and losses["classification"] > background["classification"]
    assert background["box"] == background["distance"] == 0


def test_distances_start_at_a_stride_and_a_half():
    model = VisionModel(fakes.backbone((64, 64)), YOLO(3))
    (head,) = model.heads.values()
    biases = [array(layer.bias) for layer in head.network.layers if layer.name.endswith("_box")]
    assert len(biases) == 3
    for bias in biases:
        shares = np.exp(bias.reshape(4, 16))
        np.testing.assert_allclose((shares * np.arange(16)).sum(1) / shares.sum(1), 1.53, atol=0.02)


def test_every_level_learns():
    """Boxes of three sizes: the neck and all branches take a gradient."""
    keras.utils.set_random_seed(0)
    model = VisionModel(fakes.backbone((64, 64)), YOLO(3, assigned=500))
    before = {v.path: array(v).copy() for v in model.trainable_variables}
    boxes = np.float32([[[4, 4, 14, 14], [20, 10, 50, 40], [0, 0, 64, 64]]] * 2)
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    model.compile(keras.optimizers.SGD(0.1))
    model.fit({"image": images, "boxes": boxes, "classes": np.int32([[0, 1, 2]] * 2)}, epochs=1, verbose=0)
    still = [v.path for v in model.trainable_variables if np.array_equal(before[v.path], array(v))]
    assert not still


@pytest.mark.parametrize(
    ("variant", "published"),
    # parameters that training changes, as printed in the published models' summaries: 3.2, 11.2, 25.9, 43.7, 68.2 M
    [("n", 3_157_184), ("s", 11_166_544), ("m", 25_902_624), ("l", 43_691_504), ("x", 68_229_632)],
)
def test_whole_detectors_have_the_published_size(variant, published, without_weights):
    backbone = api.backbone(f"csp_darknet_{variant}", input_shape=(64, 64, 3))
    model = VisionModel(backbone, YOLO(80, variant=variant))
    assert sum(math.prod(v.shape) for v in model.trainable_variables) == published
