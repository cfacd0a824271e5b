"""Small networks and labeled batches that tests share."""

import contextlib
import types

import numpy as np

from visiontasks.data.scenes import SKELETON  # of the objects of images and scenes

CLASSES = ("disc", "bar", "ring")
# a backbone of what stands for a model without a network
ANY_SIZE = types.SimpleNamespace(input=types.SimpleNamespace(shape=(None, None, None, 3)))


def backbone(size=(None, None), levels=(1, 2, 3), width=4):
    """A plain convolutional pyramid, small enough to train in a second."""
    import keras

    inputs = keras.Input((*size, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(inputs)
    pyramid = {}
    for level in range(1, max(levels) + 1):
        x = keras.layers.Conv2D(width * level, 3, strides=2, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(x))
        if level in levels:
            pyramid[f"C{level}"] = x
    return keras.Model(inputs, pyramid)


@contextlib.contextmanager
def weights_of_zero():
    """Where weights do not matter: to draw those of a large network takes seconds to minutes."""
    import keras
    import pytest

    with pytest.MonkeyPatch.context() as patch:
        for kind in (keras.initializers.VarianceScaling, keras.initializers.TruncatedNormal):
            patch.setattr(kind, "__call__", lambda self, shape, dtype=None: keras.ops.zeros(shape, dtype))
        yield


def taps(shapes):
    """{name: Tap} of taps (height, width, channels) by name; those called C and a number are levels."""
    from visiontasks.taps import Tap

    strides = {"image": 1, **{f"C{number}": 2**number for number in range(10)}}
    return {name: Tap(name, strides.get(name), shape[-1], tuple(shape[:2])) for name, shape in shapes.items()}


def images(count=4, size=(32, 32), seed=0):
    """A batch of images whose labels are visible: a bright block of a class's color on dark noise."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 60, (count, *size, 3), dtype=np.uint8)
    labels = np.arange(count, dtype=np.int32) % len(CLASSES)
    masks = np.zeros((count, *size), np.int32)
    tags = np.zeros((count, len(CLASSES)), np.float32)
    box = np.float32([size[1] // 4, size[0] // 4, 3 * size[1] // 4, 3 * size[0] // 4])
    for i, label in enumerate(labels):
        rows, columns = slice(size[0] // 4, 3 * size[0] // 4), slice(size[1] // 4, 3 * size[1] // 4)
        images[i, rows, columns, label] = 230
        masks[i, rows, columns] = label
        tags[i, label] = 1
        tags[i, (label + 1) % len(CLASSES)] = i % 2
    objects = {"boxes": np.tile(box, (count, 1, 1)), "classes": labels[:, None]}
    objects |= {"known": np.ones((count, len(CLASSES)), bool), "ignored": np.zeros((count, 1), bool)}
    objects["instance_masks"] = np.ones((count, 1, 8, 8), np.uint8)  # a block fills its box
    places = np.float32([[0.5, 0.5], [0.5, 0.1], [0.9, 0.5], [0.5, 0.9], [0.1, 0.5]])  # of SKELETON, in the box
    points = np.concatenate([box[:2] + places * (box[2:] - box[:2]), np.full((len(places), 1), 2, np.float32)], axis=1)
    objects["keypoints"] = np.tile(points, (count, 1, 1, 1))
    return {"image": images, "label": labels, "tags": tags, "mask": masks, **objects}


def scenes(count, size):
    """Generated scenes as one batch with every label that a head learns from, and their class names by field."""
    from visiontasks.data.sources.shapes import Shapes
    from visiontasks.instance_masks import NO_MASK
    from visiontasks.sample import NO_OBJECT

    source = Shapes(count, size=size)
    samples = [source[i] for i in range(count)]
    batch = {"image": np.stack([s.image for s in samples])}
    batch |= {field: np.stack([getattr(s, field) for s in samples]) for field in ("label", "tags", "mask")}
    batch["label"] = batch["label"].astype(np.int32)
    most = max(len(s.boxes) for s in samples)
    batch["boxes"] = np.zeros((count, most, 4), np.float32)
    batch["classes"] = np.full((count, most), NO_OBJECT, np.int32)
    batch["known"] = np.ones((count, len(source.names["classes"])), bool)
    batch["ignored"] = np.zeros((count, most), bool)
    batch["instance_masks"] = np.full((count, most, 28, 28), NO_MASK, np.uint8)
    batch["keypoints"] = np.zeros((count, most, len(SKELETON), 3), np.float32)
    for row, sample in enumerate(samples):
        batch["boxes"][row, : len(sample.boxes)] = sample.boxes
        batch["classes"][row, : len(sample.boxes)] = sample.classes
        batch["instance_masks"][row, : len(sample.boxes)] = sample.instance_masks.crops(sample.boxes, 28)
        batch["keypoints"][row, : len(sample.boxes)] = sample.keypoints
    return batch, source.names


def unlabeled(batch):
    """The batch with every label absent."""
    from visiontasks.sample import FIELDS

    return {key: value if key == "image" else np.full_like(value, FIELDS[key].absent) for key, value in batch.items()}


def heads():
    """{name: constructor} of every head in the catalogue."""
    from visiontasks.registry import catalog

    return {name: part.load() for name, part in catalog.parts("heads").items()}


def largest_heads():
    """{name: constructor} of the heads that no other one extends: what has been shown of keypoint_rcnn is so of rcnn.

    And of mask_rcnn: where keypoint_rcnn is narrow (families.py), it has a mask branch too.
    """
    found = heads()
    return {
        name: head
        for name, head in found.items()
        if name != "mask_rcnn" and not any(other is not head and issubclass(other, head) for other in found.values())
    }


def trained_heads():
    """{name: constructor} of those of `largest_heads` that learn by gradients."""
    return {name: head for name, head in largest_heads().items() if head.by_gradients}


def posed(name) -> dict:
    """{"skeleton": SKELETON} for a head that takes one."""
    from visiontasks.registry import catalog

    named = {argument.name for argument in catalog.find("heads", name).arguments}
    return {"skeleton": SKELETON} if "skeleton" in named else {}


def smooth(head, outputs, batch):
    """A head's raw outputs without choices among them: an R-CNN's second stage gets the ground-truth boxes."""
    if not isinstance(outputs, dict) or "proposals" not in outputs:
        return outputs
    boxes = batch["boxes"] + np.float32(0.37)  # not at the corner of a cell
    kept = {key: value for key, value in outputs.items() if key not in ("proposals", "valid", "regions")}
    branches = {branch.name: branch(outputs["pyramid"], boxes, batch["classes"]) for branch in head.branches}
    return kept | {"boxes": head.boxes(outputs["pyramid"], boxes)} | branches


def losses(head, batch, outputs):
    """{term: its mean} of a head's raw outputs, with what it draws the same each time."""
    return {name: term.mean for name, term in head.compute_losses(batch, outputs, training=False).items()}
