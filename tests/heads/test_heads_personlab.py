"""PersonLab: losses at the truth, people and masks of true fields, and that it learns."""

import fakes
import keras
import numpy as np
import pytest
from keras import ops
from scipy.optimize import linear_sum_assignment

from visiontasks.data.batch import row_of
from visiontasks.data.figures import CLASSES, SKELETON
from visiontasks.data.pipeline import Loader
from visiontasks.data.sources.shapes import Shapes
from visiontasks.evaluation.tasks.pose import Pose
from visiontasks.evaluation.tasks.posed_instances import PosedInstances
from visiontasks.geometry import Placement
from visiontasks.heads.personlab import WEIGHTS, PersonLab
from visiontasks.model import VisionModel
from visiontasks.ops import offset_fields
from visiontasks.ops.masks import coverage
from visiontasks.sample import NO_MASK, NO_OBJECT

SURE = 12.0  # a logit
POSE, ALL = ("heat", "short", "mid"), ("heat", "short", "mid", "segmentation", "long")


def array(x):
    return ops.convert_to_numpy(x)


def figures(count=4, size=256, objects=(1, 4), seed=0):
    """Batches of 4 drawn figures' images."""
    source = Shapes(count, seed=seed, size=(size, size), objects=objects, scene="figures")
    fields = ("classes", "boxes", "keypoints", "instance_masks")
    return Loader(source, fields=fields, size=(size, size), batch=4, workers=0, max_objects=8)


def head_of(stride, size=256, masks=True, **arguments):
    head = PersonLab(CLASSES, masks=masks, skeleton=SKELETON, **{"radius": 12.0} | arguments)
    level = f"C{stride.bit_length() - 1}"
    shapes = {level: (size // stride, size // stride, 8), "image": (size, size, 3)}
    head.build(fakes.taps(shapes))
    return head


def true_outputs(head, batch):
    """Raw outputs of a perfect network: sure of the discs, and exact fields."""
    size, place = tuple(n // head.stride for n in batch["image"].shape[1:3]), {"stride": head.stride}
    points = np.where((batch["classes"] == 0)[..., None, None], batch["keypoints"], 0).astype("float32")
    heat, owners = offset_fields.discs(points, size, radius=head.radius, **place)
    outputs = {
        "heat": ops.where(heat > 0, SURE, -SURE),
        "short": offset_fields.short_offsets(points, owners, **place),
        "mid": offset_fields.mid_offsets(points, owners, head.edges, **place)[0],
        "size": np.tile(np.float32(batch["image"].shape[1:3]), (len(points), 1)),
    }
    if head.masks:
        shares = array(coverage(batch["instance_masks"], batch["boxes"], size, head.stride))
        shares = shares * (batch["classes"] >= 0)[..., None, None]
        nearest = np.where(shares.max(axis=1) > 0, shares.argmax(axis=1), -1).astype("int32")
        outputs["long"] = offset_fields.long_offsets(points, nearest, **place)[0]
        share = np.clip(shares.sum(axis=1), 1e-5, 1 - 1e-5)
        outputs["segmentation"] = np.log(share / (1 - share)).astype("float32")
    return outputs


def restored(head, batch, outputs):
    """(the sample, its prediction) of each image, through the task."""
    predictions = {key: array(value) for key, value in head.decode(outputs).items()}
    task = (PosedInstances if head.masks else Pose)(CLASSES, "", SKELETON)
    for row in range(len(batch["image"])):
        sample = row_of(batch, row)
        size = sample.image.shape[:2]
        one = {key: value[row] for key, value in predictions.items()}
        yield sample, task.restore(one, Placement(size, size))


def matched(sample, prediction, within=0.5):
    """(joints found, joints labeled, [(object, person)])."""
    labeled = sample.keypoints[..., 2] > 0
    distances = np.linalg.norm(sample.keypoints[:, None, :, :2] - prediction["keypoints"][None, ..., :2], axis=-1)
    hits = ((distances <= within) & labeled[:, None]).sum(axis=-1)
    pairs = linear_sum_assignment(-hits)
    return hits[pairs].sum(), labeled.sum(), list(zip(*pairs, strict=True))


@pytest.mark.parametrize("stride", [4, 8, 16])
def test_isolated_people_come_back_with_every_joint(stride):
    head = head_of(stride, masks=False, radius=max(12.0, 2.0 * stride))
    for batch in figures(16, objects=(1, 1)):
        for sample, found in restored(head, batch, true_outputs(head, batch)):
            hits, labeled, _ = matched(sample, found)
            assert hits == labeled > 0 and len(found["scores"]) == 1
            assert found["scores"][0] > 0.6 and (found["keypoints"][..., 2] <= 1).all()
            points, (x1, y1, x2, y2) = sample.keypoints[0], found["boxes"][0]
            points = points[points[:, 2] > 0]
            inside = (points[:, :2] >= (x1 - 1, y1 - 1)) & (points[:, :2] <= (x2 + 1, y2 + 1))
            assert inside.all() and 0 <= x1 < x2 <= 256 and 0 <= y1 < y2 <= 256


@pytest.mark.parametrize(("stride", "radius"), [(4, 12.0), (8, 16.0)])
def test_crowded_people_come_back(stride, radius):
    head, hits, labeled = head_of(stride, masks=False, radius=radius), 0, 0
    for batch in figures(16, objects=(3, 6)):
        for sample, found in restored(head, batch, true_outputs(head, batch)):
            one, of, _ = matched(sample, found)
            hits, labeled = hits + one, labeled + of
            assert (np.diff(found["scores"]) <= 0).all()
    assert hits >= 0.98 * labeled


def test_masks_of_true_fields_are_the_drawn_ones():
    head, overlaps = head_of(4), []
    for batch in figures(8, objects=(2, 4)):
        for sample, found in restored(head, batch, true_outputs(head, batch)):
            truth, masks = np.asarray(sample.instance_masks), np.asarray(found["masks"])
            for i, j in matched(sample, found)[2]:
                overlaps.append((truth[i] & masks[j]).sum() / (truth[i] | masks[j]).sum())
    assert len(overlaps) > 12 and min(overlaps) > 0.8


def test_losses_are_least_at_the_truth():
    head, batch = head_of(4), next(iter(figures()))
    outputs = true_outputs(head, batch)
    terms = head.compute_losses(batch, outputs)
    assert tuple(terms) == head.loss_terms == ALL
    assert float(terms["heat"].mean) == pytest.approx(WEIGHTS["heat"] * np.log1p(np.exp(-SURE)), rel=1e-2)
    # between the fields of two people an interpolated correction leads to neither
    assert all(float(terms[name].mean) < 5e-3 for name in ("short", "mid", "long"))
    for name, term in terms.items():
        moved = {**outputs, name: 1.0 - outputs[name]}
        assert float(head.compute_losses(batch, moved)[name].mean) > float(term.mean) + 1e-3
    heat, cells = array(outputs["heat"]), terms["heat"].count
    assert float(cells) == heat.size and float(terms["short"].count) == (heat > 0).sum()
    moved = head.compute_losses(batch, {**outputs, "short": outputs["short"] + np.float32([3.0, -1.5])})
    assert float(moved["short"].mean) == pytest.approx(4.5 / 12.0, rel=1e-4)  # L1 in radii


def losses(batch, outputs, head):
    return {name: float(term.mean) for name, term in head.compute_losses(batch, outputs).items()}


def test_cells_of_ignored_boxes_and_of_people_without_keypoints_are_left_out():
    head, batch = head_of(8), next(iter(figures(objects=(2, 2))))
    outputs = true_outputs(head, batch)
    expected = losses(batch, outputs, head)
    row, size = 0, (32, 32)
    box = batch["boxes"][row, 1]
    centers = offset_fields.centers(size, 8)
    inside = ((centers >= box[:2]) & (centers <= box[2:])).all(axis=-1)
    wrong = {name: array(outputs[name]).copy() for name in outputs}
    wrong["heat"][row, inside] *= -1
    wrong["segmentation"][row, inside] *= -1
    assert losses(batch, wrong, head)["heat"] > 10 * expected["heat"]
    hidden = {key: value.copy() for key, value in batch.items()}
    hidden["keypoints"][row, 1] = 0
    terms = head.compute_losses(hidden, wrong)
    assert float(terms["heat"].mean) == pytest.approx(expected["heat"], rel=1e-3)
    assert float(terms["heat"].count) == (4 * 32 * 32 - inside.sum()) * len(SKELETON)
    assert float(terms["segmentation"].count) == 4 * 32 * 32  # it has a mask
    hidden["instance_masks"][row, 1] = NO_MASK
    assert float(head.compute_losses(hidden, wrong)["segmentation"].count) == 4 * 32 * 32 - inside.sum()
    ignored = {key: value.copy() for key, value in batch.items()}
    ignored["ignored"][row, 1] = True
    terms = head.compute_losses(ignored, wrong)
    assert float(terms["segmentation"].count) == 4 * 32 * 32 - inside.sum()
    assert float(terms["heat"].mean) == pytest.approx(expected["heat"], rel=1e-3)


def test_an_image_that_is_not_labeled_teaches_nothing_and_one_whose_people_are_not_all_listed_only_these():
    head, batch = head_of(8), next(iter(figures()))
    outputs = true_outputs(head, batch)
    nothing = head.compute_losses(fakes.unlabeled(batch), outputs)
    assert all(float(value) == 0 for term in nothing.values() for value in term)
    some = head.compute_losses({**batch, "known": np.zeros_like(batch["known"])}, outputs)
    assert float(some["heat"].count) == (array(outputs["heat"]) > 0).sum()
    assert 0 < float(some["segmentation"].count) < 4 * 32 * 32
    empty = {**batch, "classes": np.full_like(batch["classes"], NO_OBJECT)}
    empty = head.compute_losses(empty, outputs)  # an image without people is background
    assert float(empty["heat"].count) == array(outputs["heat"]).size and float(empty["short"].count) == 0


def test_other_classes_are_background():
    head, batch = PersonLab(("person", "dog"), skeleton=SKELETON, radius=12.0), next(iter(figures()))
    head.build(fakes.taps({"C3": (32, 32, 8), "image": (256, 256, 3)}))
    batch = {**batch, "known": np.ones((4, 2), bool), "classes": np.where(batch["classes"] == 0, 1, -1)}
    terms = head.compute_losses(batch, true_outputs(head, batch))
    assert float(terms["short"].count) == 0 and float(terms["heat"].mean) < 1e-3


def tiny(**arguments):
    keras.utils.set_random_seed(0)
    arguments = {"radius": 16.0, "layers": 1, "filters": 32} | arguments
    head = PersonLab(CLASSES, skeleton=SKELETON, **arguments)
    return VisionModel(fakes.backbone((64, 64), width=16), head), head


def small_batch(count=2):
    source = Shapes(count, size=(64, 64), objects=(1, 2), scene="figures")
    fields = ("classes", "boxes", "keypoints", "instance_masks")
    return next(iter(Loader(source, fields=fields, size=(64, 64), batch=count, workers=0, max_objects=3)))


def test_refined_fields_teach_the_short_offsets():
    """The losses of mid and long offsets depend on these and on what corrects them."""
    model, head = tiny(masks=True)
    batch = small_batch()
    outputs = {key: array(value) for key, value in model(batch["image"], training=False).items()}
    for name in ("mid", "long"):
        for field in (name, "short"):

            def loss(value, name=name, field=field):
                return head.compute_losses(batch, {**outputs, field: value})[name].mean

            before, after = (float(loss(outputs[field] + pixels)) for pixels in (0.0, 2.0))
            assert abs(after - before) > 1e-4, (name, field)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="takes slopes by TensorFlow's tape")
def test_gradients_reach_every_map():
    import tensorflow as tf

    model, head = tiny(masks=True)
    batch = small_batch()
    for name, reached in (("mid", {"mid", "short"}), ("long", {"long", "short"})):
        with tf.GradientTape() as tape:
            loss = head.compute_losses(batch, model(batch["image"], training=False))[name].mean
        kernels = {layer.name: layer.kernel.value for layer in head.maps}
        slopes = tape.gradient(loss, kernels)
        assert {key for key, slope in slopes.items() if slope is not None and np.abs(slope).max() > 0} == reached


@pytest.mark.parametrize(
    "arguments", [{}, {"masks": True, "levels": ["C2", "C3"], "batch_norm": True, "people": 5}], ids=["plain", "all"]
)
def test_what_is_saved_is_what_was_learned(arguments, tmp_path):
    (model, _), batch = tiny(**arguments), small_batch()
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    assert again.get_config()["head"] == model.get_config()["head"]
    before, after = (part.decode(part(batch["image"], training=False)) for part in (model, again))
    assert before.keys() == after.keys()
    for key, value in before.items():
        np.testing.assert_array_equal(array(value), array(after[key]))


def test_learns_two_images():
    model, _ = tiny(masks=True, batch_norm=True)
    model.compile(keras.optimizers.Adam(3e-3))
    history = model.fit(small_batch(), batch_size=2, epochs=30, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0], history


def test_levels_by_default_and_by_name():
    stride = {f"C{level}": (64 // 2**level,) * 2 + (8,) for level in (1, 2, 3, 4)}
    available = fakes.taps(stride | {"image": (64, 64, 3)})
    assert PersonLab(1).taps(available) == ("C3", "image")
    assert PersonLab(1).taps({name: available[name] for name in ("C2", "C4", "image")}) == ("C4", "image")
    assert PersonLab(1).taps({name: available[name] for name in ("C1", "C2", "image")}) == ("C2", "image")
    fused = VisionModel(fakes.backbone((64, 64), (2, 3)), PersonLab(1, levels=["C2", "C3"]))
    assert fused(small_batch()["image"], training=False)["heat"].shape == (2, 16, 16, 17)


def test_one_keypoint_needs_no_edges():
    head = PersonLab(1, skeleton={"names": ["head"]}, radius=12.0)
    model, images = VisionModel(fakes.backbone((64, 64)), head), fakes.images(2, (64, 64))
    images["keypoints"] = np.tile(np.float32([32, 32, 2]), (2, 1, 1, 1))
    images["classes"], images["known"] = images["classes"] * 0, images["known"][:, :1]
    outputs = model(images["image"], training=False)
    assert float(head.compute_losses(images, outputs)["mid"].count) == 0
    assert head.decode(outputs)["keypoints"].shape == (2, 20, 1, 3)


def test_limbs_that_leave_a_keypoint_alone_are_an_error():
    with pytest.raises(ValueError, match="limbs that connect all keypoints"):
        PersonLab(1, skeleton={"names": ["a", "b", "c"], "limbs": [[0, 1]]})


def test_its_fields_and_task_follow_its_masks():
    assert (PersonLab(1).task, PersonLab(1).fields) == ("pose", ("classes", "boxes", "keypoints"))
    assert (PersonLab(1, masks=True).task, PersonLab(1, masks=True).loss_terms) == ("posed_instances", ALL)
    assert "instance_masks" in PersonLab(1, masks=True).fields and PersonLab(1).loss_terms == POSE
