"""The first YOLO's outputs by hand, its loss against equation 3 in slow loops."""

import fakes
import keras
import numpy as np
import pytest
from keras import ops

from visiontasks.heads.yolo_v1 import YOLOV1
from visiontasks.model import VisionModel

GRID, SIZE = 4, (64, 128)  # rows and columns; height and width: cells of 16 by 32
BOXES = np.float32([[10, 20, 60, 50], [70, 4, 126, 60], [0, 0, 20, 12]])
CLASSES = np.int32([1, 0, 2])


def array(tensor):
    return ops.convert_to_numpy(tensor)


def targets(count=1):
    padded = np.concatenate([BOXES, np.zeros((1, 4), "float32")])
    return {
        "boxes": np.tile(padded, (count, 1, 1)),
        "classes": np.tile(np.concatenate([CLASSES, np.int32([-1])]), (count, 1)),
    }


def empty_outputs(count=1, boxes=2):
    return {
        "boxes": np.zeros((count, GRID, GRID, boxes, 5), "float32"),
        "classes": np.zeros((count, GRID, GRID, 3), "float32"),
        "size": np.tile(np.float32(SIZE), (count, 1)),
    }


def numbers_of(box):
    """((row, column), [x, y, root of width, root of height])."""
    x, y = (box[0] + box[2]) / 2 / SIZE[1] * GRID, (box[1] + box[3]) / 2 / SIZE[0] * GRID
    roots = np.sqrt([(box[2] - box[0]) / SIZE[1], (box[3] - box[1]) / SIZE[0]])
    return (int(y), int(x)), [x - int(x), y - int(y), *roots]


def test_perfect_outputs_have_no_loss_and_decode_to_the_targets():
    outputs = empty_outputs()
    for box, label in zip(BOXES, CLASSES, strict=True):
        (row, column), numbers = numbers_of(box)
        outputs["boxes"][0, row, column, 1] = [*numbers, 1]
        outputs["classes"][0, row, column, label] = 1
    head = YOLOV1(3)
    losses = {term: float(value.mean) for term, value in head.compute_losses(targets(), outputs).items()}
    assert max(losses.values()) < 1e-8, losses
    detections = {key: array(value)[0] for key, value in head.decode(outputs).items()}
    assert detections["valid"].sum() == 3
    order = [int(np.flatnonzero(detections["classes"][:3] == label)[0]) for label in CLASSES]
    np.testing.assert_allclose(detections["boxes"][order], BOXES, atol=1e-3)
    np.testing.assert_allclose(detections["scores"][:3], 1, atol=1e-6)


def slow_iou(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union


def equation_3(outputs, labels, coord, noobj):
    """Term by term, cell by cell, box by box; the mean over images."""
    sums, count = np.zeros(3), outputs["boxes"].shape[3]
    images = len(outputs["boxes"])
    for p in range(images):
        owner = {}
        for box, label in zip(labels["boxes"][p], labels["classes"][p], strict=True):
            if label >= 0:
                cell, numbers = numbers_of(box)
                area = (box[2] - box[0]) * (box[3] - box[1])
                if cell not in owner or area > owner[cell][0]:
                    owner[cell] = (area, numbers, box, label)
        for row in range(GRID):
            for column in range(GRID):
                predicted = outputs["boxes"][p, row, column].astype("float64")
                if (row, column) not in owner:
                    sums[1] += noobj * (predicted[:, 4] ** 2).sum()
                    continue
                _, numbers, box, label = owner[row, column]
                overlaps = []
                for x, y, w, h, _ in predicted:
                    x, y = (x + column) / GRID * SIZE[1], (y + row) / GRID * SIZE[0]
                    w, h = w**2 * SIZE[1], h**2 * SIZE[0]
                    overlaps.append(slow_iou((x - w / 2, y - h / 2, x + w / 2, y + h / 2), box))
                best = int(np.argmax(overlaps))
                sums[0] += coord * ((predicted[best, :4] - numbers) ** 2).sum()
                sums[1] += (predicted[best, 4] - overlaps[best]) ** 2
                sums[1] += noobj * sum(predicted[j, 4] ** 2 for j in range(count) if j != best)
                sums[2] += ((outputs["classes"][p, row, column] - np.eye(3)[label]) ** 2).sum()
    return dict(zip(YOLOV1.loss_terms, sums / images, strict=True))


@pytest.mark.parametrize("boxes", [1, 2, 3])
def test_the_loss_is_equation_3(boxes):
    rng = np.random.default_rng(boxes)
    outputs = empty_outputs(3, boxes)
    outputs["boxes"] = rng.uniform(0, 1, outputs["boxes"].shape).astype("float32")
    outputs["boxes"][..., 2:4] *= -1  # roots of either sign are squared
    outputs["classes"] = rng.normal(0.3, 0.5, outputs["classes"].shape).astype("float32")
    labels = targets(3)
    labels["boxes"][1, 2] = [16, 24, 50, 40]  # two objects in one cell: the larger counts
    labels["classes"][2] = -1  # an image without objects
    assert numbers_of(labels["boxes"][1, 0])[0] == numbers_of(labels["boxes"][1, 2])[0]
    for head in (YOLOV1(3, boxes=boxes), YOLOV1(3, boxes=boxes, lambda_coord=2.0, lambda_noobj=0.1)):
        got = head.compute_losses(labels, outputs)
        wanted = equation_3(outputs, labels, head.lambda_coord, head.lambda_noobj)
        for term in head.loss_terms:
            np.testing.assert_allclose(float(got[term].mean), wanted[term], rtol=1e-4, err_msg=term)


def test_the_order_of_two_objects_in_a_cell_does_not_matter():
    labels, outputs = targets(), empty_outputs()
    labels["boxes"][0, 2] = [16, 24, 50, 40]
    outputs["boxes"][:] = 0.5
    swapped = {key: value[:, [2, 1, 0, 3]] for key, value in labels.items()}
    first, second = (YOLOV1(3).compute_losses(t, outputs) for t in (labels, swapped))
    for term in first:
        assert float(first[term].mean) == float(second[term].mean)


def test_scores_are_confidence_times_probability_between_0_and_1():
    outputs = empty_outputs()
    outputs["boxes"][0, 1, 1, 0] = [0.5, 0.5, 0.5, 0.5, 0.6]
    outputs["boxes"][0, 2, 3, 1] = [0.5, 0.5, 0.2, 0.2, 1.4]
    outputs["classes"][0, 1, 1] = [0.5, -0.2, 0.01]
    outputs["classes"][0, 2, 3] = [0, 0, 1.3]
    detections = {key: array(value)[0] for key, value in YOLOV1(3).decode(outputs).items()}
    assert detections["valid"].sum() == 2
    np.testing.assert_allclose(detections["scores"][:2], [1, 0.3], rtol=1e-6)
    np.testing.assert_array_equal(detections["classes"][:2], [2, 0])
    np.testing.assert_allclose(detections["boxes"][1], [32, 16, 64, 32], atol=1e-4)


@pytest.mark.parametrize(("size", "grid"), [((448, 448), (7, 7)), ((256, 320), (4, 5)), ((200, 300), (4, 5))])
def test_the_grid_follows_the_image(size, grid):
    """At the paper's 448 and 20 classes: 7 × 7 × 30 numbers."""
    model = VisionModel(fakes.backbone(size, levels=(5,), width=1), YOLOV1(20, filters=[4, 4, 4, 4], hidden=[8]))
    outputs = model(np.zeros((1, *size, 3), np.uint8))
    assert outputs["boxes"].shape == (1, *grid, 2, 5) and outputs["classes"].shape == (1, *grid, 20)
    (head,) = model.heads.values()
    assert head.trunk[-1].units == grid[0] * grid[1] * 30


def test_defaults_are_the_papers():
    head = YOLOV1(20)
    assert head.filters == (1024,) * 4 and head.hidden == (4096,) and head.dropout == 0.5
    assert (head.lambda_coord, head.lambda_noobj, head.boxes) == (5, 0.5, 2)


def test_images_without_a_fixed_size_are_an_error():
    with pytest.raises(ValueError, match="input_shape=\\(448, 448, 3\\)"):
        VisionModel(fakes.backbone(), YOLOV1(3))


@pytest.mark.parametrize("arguments", [{"boxes": 0}, {"filters": []}])
def test_arguments_out_of_bounds_are_named(arguments):
    with pytest.raises(ValueError, match=f"^{next(iter(arguments))}: expected a "):
        YOLOV1(3, **arguments)


def test_dropout_drops_in_training_alone():
    keras.utils.set_random_seed(0)
    model = VisionModel(fakes.backbone((32, 32)), YOLOV1(3, filters=[4], hidden=[64]))
    batch = fakes.images(1)["image"]
    plain = [array(model(batch, training=False)["boxes"]) for _ in range(2)]
    model.backbone.trainable = False
    dropped = [array(model(batch, training=True)["boxes"]) for _ in range(2)]
    np.testing.assert_array_equal(*plain)
    assert not np.array_equal(*dropped)
