"""What is explained by default is what the head decodes as its best."""

import fakes
import keras
import numpy as np
import pytest
from families import NARROW
from keras import ops

from visiontasks.errors import UserError
from visiontasks.explain.believing import shuffled_weights
from visiontasks.explain.scoring import Explained
from visiontasks.heads.choices import choose_pixels, mean_over, peaks
from visiontasks.model import VisionModel
from visiontasks.registry import catalog

SMALL = {"yolo_v1": {"tap": None, "filters": [8, 4], "hidden": [16]}}


def built(name, **more):
    keras.utils.set_random_seed(0)
    given = {**NARROW.get(name, {}), **fakes.posed(name), **SMALL.get(name, {}), **more}
    model = VisionModel(fakes.backbone((32, 32)), catalog.find("heads", name).load()(fakes.CLASSES, **given))
    images = fakes.images(2)["image"]
    outputs = model(images, training=False)
    decoded = {key: ops.convert_to_numpy(value) for key, value in model.decode(outputs).items()}
    return model, images, outputs, decoded


@pytest.mark.parametrize("name", ["ssd", "retinanet", "yolo", "yolo_v1"])
def test_the_best_box_and_its_score(name):
    model, images, _, decoded = built(name, score_threshold=0.0)
    one = Explained(model, images)
    np.testing.assert_array_equal(one.choice.number, decoded["classes"][:, 0])
    np.testing.assert_allclose(one.choice.box, decoded["boxes"][:, 0], atol=1e-3)
    if name in ("retinanet", "yolo"):  # whose scores are sigmoids
        np.testing.assert_allclose(1 / (1 + np.exp(-one.scores())), decoded["scores"][:, 0], rtol=1e-4)
    # a box that was found is found again
    row = next(i for i in range(1, 20) if decoded["valid"][0, i])
    again = Explained(model, images[:1], int(decoded["classes"][0, row]), box=decoded["boxes"][0, row])
    assert ops.convert_to_numpy(again.choice.number)[0] == decoded["classes"][0, row]


def test_a_joint_is_where_it_is_decoded():
    model, images, _, decoded = built("pose_heatmap", refinement="quarter")
    (head,) = model.heads.values()
    for number in range(len(head.skeleton)):
        cells = ops.convert_to_numpy(Explained(model, images, f"joint:{number}").choice.cells)
        for row, peak in enumerate(cells):
            (place,) = np.argwhere(peak)
            found = decoded["keypoints"][row, 0, number, :2]
            np.testing.assert_allclose((place[::-1] + 0.5) * head.stride, found, atol=head.stride)


def test_pixels_are_those_predicted_as_the_class_or_the_likeliest():
    logits = np.zeros((2, 2, 3, 3), np.float32)
    logits[0, 0, :2, 2], logits[0, 1, 2, 1] = 5, 4  # class 2 at two pixels, class 1 at one, the rest is background
    logits[..., 0] = 1
    logits[1, 1, 1, 2] = 0.9  # of the second image nothing is predicted but background
    choice = choose_pixels(ops.convert_to_tensor(logits), "mask", None, None)
    cells = ops.convert_to_numpy(choice.cells)
    assert ops.convert_to_numpy(choice.number).tolist() == [2, 2]
    assert np.argwhere(cells[0]).tolist() == [[0, 0], [0, 1]] and np.argwhere(cells[1]).tolist() == [[1, 1]]
    asked = choose_pixels(ops.convert_to_tensor(logits), "mask", 1, np.float32([[0, 0, 3, 2]] * 2))
    assert np.argwhere(ops.convert_to_numpy(asked.cells)[0]).tolist() == [[1, 2]]


def test_other_weights_are_scored_for_the_same_box():
    """Those of a network that has learned nothing would be of another one."""
    model, images, _, _ = built("ssd", score_threshold=0.0)
    one = Explained(model, images)
    model.set_weights(shuffled_weights(model, 1))
    free, fixed = Explained(model, images), Explained(model, images, choice=one.choice)
    assert not np.allclose(free.choice.box, one.choice.box, atol=1)
    np.testing.assert_array_equal(fixed.choice.box, one.choice.box)
    assert fixed.kind == "box" and fixed.names == one.names
    again = Explained(model, images[:1], int(one.choice.number[0]), box=one.choice.box[0])
    np.testing.assert_allclose(fixed.scores()[0], again.scores()[0], rtol=1e-4)
    with pytest.raises(UserError, match="choice: .* leave target and box out"):
        Explained(model, images, "disc", choice=one.choice)


def test_peaks_and_means():
    values = ops.convert_to_tensor(np.float32([[[1, 5], [3, 2]], [[9, 8], [7, 6]]]))
    allowed = np.array([[[True, False], [True, True]]])
    found = ops.convert_to_numpy(peaks(values, allowed))
    assert np.argwhere(found).tolist() == [[0, 1, 0], [1, 0, 0]]
    np.testing.assert_allclose(ops.convert_to_numpy(mean_over(values, ops.convert_to_tensor(found))), [3, 9])
