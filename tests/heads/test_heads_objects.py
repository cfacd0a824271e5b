"""What detectors learn of classes that are not known and of ignored regions: of neither as background."""

import fakes
import keras
import numpy as np
import pytest
from keras import ops

from visiontasks.heads.rcnn import RCNN
from visiontasks.heads.retinanet import RetinaNet
from visiontasks.heads.ssd import SSD
from visiontasks.heads.yolo import YOLO
from visiontasks.heads.yolo_v1 import YOLOV1
from visiontasks.model import VisionModel
from visiontasks.ops import matching
from visiontasks.ops import objects as ground_truth

CLASSES = 3
SIZE = (32, 32)
UNKNOWN = 1  # the class that most images below are not labeled for
HEADS = {
    # all negatives are learned, so that no choice hides one
    "ssd": lambda: SSD(CLASSES, levels=["C2", "C3"], extra=[], batch_norm=False, negatives=1e6),
    "retinanet": lambda: RetinaNet(CLASSES, filters=8, convs=1),
    "retinanet, adaptive": lambda: RetinaNet(CLASSES, filters=8, convs=1, assignment="adaptive"),
    "rcnn": lambda: RCNN(CLASSES, filters=8, units=16, proposals=60, training_proposals=60, anchor_samples=8192),
    "yolo": lambda: YOLO(CLASSES, levels=["C2", "C3"]),
    "yolo_v1": lambda: YOLOV1(CLASSES, filters=[4], hidden=[16]),
}


def array(tensor):
    return ops.convert_to_numpy(tensor)


def targets(objects, known=None, ignored=()):
    """Of one image for each list of (box, class); `known` a row each, `ignored` the numbers (image, object)."""
    most = max(len(one) for one in objects) + 1
    batch = {
        "boxes": np.zeros((len(objects), most, 4), np.float32),
        "classes": np.full((len(objects), most), -1, np.int32),
        "ignored": np.zeros((len(objects), most), bool),
    }
    for row, one in enumerate(objects):
        for i, (box, number) in enumerate(one):
            batch["boxes"][row, i], batch["classes"][row, i] = box, number
    for row, i in ignored:
        batch["ignored"][row, i] = True
    if known is not None:
        batch["known"] = np.array(known, bool)
    return batch


def answered(name, count):
    """(head, raw outputs) of random weights, with boxes of all sizes where a head predicts them from nothing."""
    keras.utils.set_random_seed(0)
    model = VisionModel(fakes.backbone(SIZE), HEADS[name]())
    (head,) = model.heads.values()
    outputs = keras.tree.map_structure(array, model(fakes.images(count, SIZE)["image"], training=False))
    rng = np.random.default_rng(0)
    if name == "yolo_v1":
        outputs["boxes"] = rng.uniform(0.1, 0.9, outputs["boxes"].shape).astype("float32")
    if name == "yolo":
        near = -np.arange(16) * rng.uniform(0.5, 2, (1, outputs["distances"].shape[1], 1, 1))
        outputs["distances"] = (near + rng.normal(0, 1, outputs["distances"].shape)).astype("float32")
    return head, outputs


def gradients(head, outputs, truth):
    """({term: (total, count)}, gradients of the sum of totals in the outputs' nest)."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("takes gradients with TensorFlow")
    import tensorflow as tf

    outputs = keras.tree.map_structure(tf.convert_to_tensor, outputs)
    flat = keras.tree.flatten(outputs)
    with tf.GradientTape() as tape:
        for x in flat:
            tape.watch(x)
        terms = head.compute_losses(truth, outputs, training=False)
        total = sum(term.total for term in terms.values())
    grads = tape.gradient(total, flat, unconnected_gradients="zero")
    grads = keras.tree.pack_sequence_as(outputs, [x.numpy() for x in grads])
    return {name: tuple(map(float, term)) for name, term in terms.items()}, grads


def background(name, head, outputs, grads):
    """(boxes (B, A, 4) that may be taught as background, bool (B, A): which of them a gradient reaches)."""
    if name == "yolo_v1":
        count = len(outputs["boxes"])
        return array(head._boxes(outputs)).reshape(count, -1, 4), grads["boxes"][..., 4].reshape(count, -1) != 0
    if name == "yolo":
        return array(head._boxes(outputs)), grads["classes"].any(-1)
    key = "objectness" if name == "rcnn" else "classes"
    parts = [np.concatenate(x, 1) if isinstance(x, list) else x for x in (outputs["anchors"], grads[key])]
    return parts[0], parts[1] != 0 if name == "rcnn" else parts[1].any(-1)


OBJECT = ([2, 2, 12, 12], 0)
REGION = ([14, 12, 32, 30], 2)


@pytest.mark.parametrize("name", HEADS)
def test_an_image_with_nothing_known_and_no_object_adds_exactly_nothing(name):
    head, outputs = answered(name, 2)
    terms, grads = gradients(head, outputs, targets([[], [REGION]], known=[[False] * CLASSES] * 2, ignored=[(1, 0)]))
    assert set(terms.values()) == {(0.0, 0.0)}
    assert not any(x.any() for x in keras.tree.flatten(grads))


@pytest.mark.parametrize("name", ["retinanet", "retinanet, adaptive", "yolo"])
def test_a_sigmoid_of_a_class_that_is_not_known_learns_from_its_objects_alone(name):
    head, outputs = answered(name, 3)
    known = [[number != UNKNOWN for number in range(CLASSES)]] * 3
    truth = targets([[OBJECT], [(OBJECT[0], UNKNOWN)], []], known=known)
    _, grads = gradients(head, outputs, truth)
    logits = np.concatenate(grads["classes"], 1) if isinstance(grads["classes"], list) else grads["classes"]
    for row in (0, 2):
        assert (logits[row, :, UNKNOWN] == 0).all() and (np.delete(logits[row], UNKNOWN, 1) != 0).all(-1).any()
    # its object is a positive: where it is learned, and nowhere else
    reached = logits[1, :, UNKNOWN] != 0
    boxes, _ = background(name, head, outputs, grads)
    assert 0 < reached.sum() < 0.2 * len(reached)
    if name != "yolo":
        assert (logits[1, reached, UNKNOWN] < 0).all()
    complete = targets([[OBJECT], [(OBJECT[0], UNKNOWN)], []], known=[[True] * CLASSES] * 3)
    _, all_known = gradients(head, outputs, complete)
    whole = np.concatenate(all_known["classes"], 1) if isinstance(all_known["classes"], list) else all_known["classes"]
    assert (whole[2, :, UNKNOWN] != 0).all()
    np.testing.assert_allclose(np.delete(logits, UNKNOWN, 2), np.delete(whole, UNKNOWN, 2), rtol=1e-6)


def test_yolo_v1_learns_no_background_where_a_class_is_not_known():
    head, outputs = answered("yolo_v1", 3)
    partly = [number != UNKNOWN for number in range(CLASSES)]
    truth = targets([[OBJECT], [(OBJECT[0], UNKNOWN)], []], known=[partly, partly, [True] * CLASSES])
    _, grads = gradients(head, outputs, truth)
    confidence = (grads["boxes"][..., 4] != 0).reshape(3, -1)
    assert confidence[:2].sum(1).tolist() == [1, 1] and confidence[2].all()
    classes = grads["classes"].reshape(3, -1, CLASSES)
    (cell,) = np.flatnonzero(classes[0].any(-1))
    assert classes[0, cell, UNKNOWN] == 0 and (np.delete(classes[0, cell], UNKNOWN) != 0).all()
    assert (classes[1, cell] != 0).all() and not classes[2].any()


def swapped(logits, where):
    """Logits with the background's and the unknown class's exchanged in the rows `where`."""
    moved = logits.copy()
    moved[where, 0], moved[where, UNKNOWN + 1] = logits[where, UNKNOWN + 1], logits[where, 0]
    return moved


def test_a_softmax_may_move_between_the_background_and_a_class_that_is_not_known():
    """SSD's: of each anchor without an object, and which ones are the hardest stays too."""
    head, outputs = answered("ssd", 1)
    head.negatives = 3.0
    outputs["classes"] = np.random.default_rng(1).normal(0, 2, outputs["classes"].shape).astype("float32")
    for known, changes in (([number != UNKNOWN for number in range(CLASSES)], False), ([True] * CLASSES, True)):
        truth = targets([[OBJECT]], known=[known])
        overlaps = ground_truth.objects(truth, CLASSES)
        matches = matching.bipartite(
            array(keras.utils.bounding_boxes.compute_iou(truth["boxes"], outputs["anchors"], "xyxy")),
            overlaps.valid,
            head.overlap,
        )
        empty = array(matches)[0] == matching.BACKGROUND
        moved = {**outputs, "classes": swapped(outputs["classes"][0], empty)[None]}
        before, after = (head.compute_losses(truth, x)["classification"] for x in (outputs, moved))
        assert float(before.count) == float(after.count) == (~empty).sum() > 0
        assert (abs(float(before.total) / float(after.total) - 1) > 1e-3) == changes
        if not changes:
            np.testing.assert_allclose(before.total, after.total, rtol=1e-6)


def test_the_second_stage_s_softmax_may_too_and_the_first_learns_no_background():
    head, outputs = answered("rcnn", 2)
    partly = [number != UNKNOWN for number in range(CLASSES)]
    truth = targets([[OBJECT], [OBJECT]], known=[partly, [True] * CLASSES])
    samples = head.sample(truth, outputs, training=False)
    logits = {key: array(value) for key, value in head.boxes(outputs["pyramid"], samples["boxes"]).items()}
    logits["classes"] = np.random.default_rng(1).normal(0, 2, logits["classes"].shape).astype("float32")
    empty = array(samples["labels"]) == 0
    assert empty.any(1).all() and not empty.all()
    for row, same in ((0, True), (1, False)):
        where = np.zeros_like(empty)
        where[row] = empty[row]
        moved = {**logits, "classes": swapped(logits["classes"], where)}
        before, after = (
            float(head.boxes.compute_losses(x, samples, truth)["classification"].total) for x in (logits, moved)
        )
        assert (abs(before / after - 1) < 1e-6) == same
    # objectness: of the first image positives alone
    _, grads = gradients(head, outputs, truth)
    logits = np.concatenate(grads["objectness"], 1)
    assert (logits[0] < 0).any() and not (logits[0] > 0).any() and (logits[1] > 0).any()


def slow_share(region, box):
    """Of the box's own area within the region."""
    width, height = min(region[2], box[2]) - max(region[0], box[0]), min(region[3], box[3]) - max(region[1], box[1])
    area = (box[2] - box[0]) * (box[3] - box[1])
    return max(0, width) * max(0, height) / area if area > 0 else 0


@pytest.mark.parametrize("name", HEADS)
def test_an_ignored_region_teaches_neither_an_object_nor_background(name):
    head, outputs = answered(name, 1)
    terms, grads = gradients(head, outputs, targets([[OBJECT, REGION]], ignored=[(0, 1)]))
    boxes, reached = (x[0] for x in background(name, head, outputs, grads))
    shares = np.array([slow_share(REGION[0], box) for box in boxes])
    apart = np.array([slow_share(OBJECT[0], box) == 0 for box in boxes])
    clear = np.abs(shares - 0.5) > 1e-3  # of the others rounding decides
    covered = apart & clear & (shares > 0.5)
    assert covered.any() and not reached[covered].any()
    rest = apart & clear & (shares < 0.5)
    assert rest.any() and reached[rest].all()
    # as an object it is learned
    as_object, _ = gradients(head, outputs, targets([[OBJECT, REGION]]))
    alone, _ = gradients(head, outputs, targets([[OBJECT]]))
    for term in terms:
        if term not in ("classification", "objectness", "confidence"):
            # boxes are learned from the object alone
            assert terms[term][0] == pytest.approx(alone[term][0], rel=1e-5) and as_object[term][0] != alone[term][0]


def test_the_second_stage_samples_no_background_in_an_ignored_region():
    head, outputs = answered("rcnn", 1)
    outputs["proposals"] = np.float32([[[15, 13, 25, 25], [1, 20, 9, 30], [3, 3, 12, 12]]])
    outputs["valid"] = np.ones((1, 3), bool)
    truth = targets([[OBJECT, REGION]], ignored=[(0, 1)])
    samples = {key: array(value)[0] for key, value in head.sample(truth, outputs, training=False).items()}
    boxes = samples["boxes"][samples["valid"]].tolist()
    assert [1, 20, 9, 30] in boxes and OBJECT[0] in boxes and [15, 13, 25, 25] not in boxes and REGION[0] not in boxes


def labeled_twice(count):
    """Images whose discs and bars are labeled in one set and whose sizes in another, each by its own."""
    batch = fakes.images(count, SIZE)
    sets = {"image": batch["image"]}
    sets |= {f"shapes/{name}": batch[name] for name in ("boxes", "classes", "known")}
    sets |= {"scale/boxes": batch["boxes"] + np.float32([0, 0, 4, 2]), "scale/classes": batch["classes"] % 2}
    sets["shapes/known"][: count // 2] = False  # half of the images belong to one data set, half to the other
    sets["shapes/classes"][: count // 2] = -1
    sets["scale/known"] = np.zeros((count, 2), bool)
    sets["scale/known"][: count // 2] = True
    sets["scale/classes"][count // 2 :] = -1
    return sets


def test_two_detectors_learn_two_vocabularies_from_one_batch():
    def made(learns):
        keras.utils.set_random_seed(0)
        heads = {
            "shapes": RetinaNet(CLASSES, filters=8, convs=1, learns="shapes", name="a"),
            "scale": RetinaNet(["large", "small"], filters=8, convs=1, learns="scale", name="b"),
        }
        return VisionModel(fakes.backbone(SIZE), {name: heads[name] for name in learns})

    batch = labeled_twice(4)
    model = made(["shapes", "scale"])
    model.compile(keras.optimizers.Adam(0.01))
    joint = model.evaluate(batch, batch_size=4, verbose=0, return_dict=True)
    for name in ("shapes", "scale"):  # each head's losses are those of its own images
        rows = slice(2, 4) if name == "shapes" else slice(0, 2)
        own = {key.removeprefix(f"{name}/"): value[rows] for key, value in batch.items() if key.startswith(name)}
        outputs = model(batch["image"][rows])[name]
        for term, value in model.heads[name].compute_losses(own, outputs).items():
            np.testing.assert_allclose(joint[f"{name}/{term}_loss"], float(value.mean), rtol=1e-4)
    history = model.fit(batch, batch_size=4, epochs=30, verbose=0).history
    assert history["shapes/classification_loss"][-1] < 0.5 * history["shapes/classification_loss"][0]
    assert history["scale/classification_loss"][-1] < 0.5 * history["scale/classification_loss"][0]
    del batch["scale/boxes"]
    with pytest.raises(ValueError, match=r"\['scale/boxes'\] are missing"):
        model.evaluate(batch, verbose=0)


def test_a_head_without_a_set_takes_the_only_one_of_its_kind():
    batch = {"a/boxes": 0, "a/classes": 1, "b/mask": 2, "label": 3}
    head = RetinaNet(CLASSES)
    assert head.prefix(batch) == "a/"
    assert head.prefix({**batch, "boxes": 4, "classes": 5}) == ""
    assert head.prefix({**batch, "b/boxes": 4, "b/classes": 5}) == ""  # two: the bare names are then missing
    head.learns = "b"
    assert head.prefix(batch) == "b/"


def test_what_a_head_learns_is_saved_and_changes_no_prediction(tmp_path):
    """Two heads of one kind in a .keras file: each with its set, and under its own name."""

    def made(learns):
        keras.utils.set_random_seed(0)
        heads = {"first": SSD(CLASSES, extra=[], learns=learns[0]), "second": SSD(2, extra=[], learns=learns[1])}
        return VisionModel(fakes.backbone(SIZE), heads)

    model, batch = made(("shapes", "scale")), labeled_twice(4)
    assert [head.get_config()["learns"] for head in model.heads.values()] == ["shapes", "scale"]
    model.compile("adam")
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    assert {name: head.learns for name, head in again.heads.items()} == {"first": "shapes", "second": "scale"}
    losses = [one.evaluate(batch, batch_size=4, verbose=0, return_dict=True) for one in (model, again)]
    assert losses[0] == losses[1] and min(losses[0].values()) > 0
    others = [one.predict(batch["image"], verbose=0) for one in (again, made((None, None)))]
    keras.tree.map_structure(np.testing.assert_array_equal, others[0], others[1])
    assert others[0].keys() == {"first", "second"}
