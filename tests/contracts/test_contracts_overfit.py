"""Every detector alone finds the objects of the scenes that it was trained on."""

import fakes
import keras
import pytest
from families import model_of, scores

from visiontasks.registry import catalog
from visiontasks.training import fused_optimizers

FAMILY = "unet_encoder"
SCORES = {"detection": "ap50", "pose": "keypoint_ap50"}  # of heads that find objects, by task
TASKS = {name: part.task({}) for name, part in sorted(catalog.parts("heads").items())}


# one that looks at one object an image has no scenes; fields of offsets and of limbs need more steps than a test has:
# these heads' own tests show that they learn, and that the truth gives all people
OTHERS = ("pose_heatmap", "openpose", "personlab")
FOUND = [name for name in fakes.largest_heads() if TASKS[name] in SCORES and name not in OTHERS]


@pytest.mark.parametrize("name", FOUND)
def test_a_detector_overfits_its_images(name, apart):
    """Boxes or keypoints of the scenes it was trained on come back: AP50 of 0.95 and more."""
    apart(check_overfit, name)


def check_overfit(name):
    keras.utils.set_random_seed(0)
    model, batch = model_of(FAMILY, [name])
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9  # Keras's 0.99 is for thousands of steps: inference would still see the first ones
    model.compile(fused_optimizers.Adam(1e-3))
    for _ in range(8):
        model.fit(batch, batch_size=4, epochs=25, verbose=0)
        score = scores(model, batch)[name][SCORES[TASKS[name]]]
        if score >= 0.95:
            return
    assert score >= 0.95
