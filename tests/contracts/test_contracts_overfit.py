"""Every detector alone finds the objects of the scenes that it was trained on."""

import fakes
import families
import keras
import numpy as np
import pytest

from visiontasks.registry import catalog
from visiontasks.training import fused_optimizers

FAMILY = "unet_encoder"
# of heads that find objects, by task
SCORES = {"detection": ["ap50"], "pose": ["keypoint_ap50"], "posed_instances": ["keypoint_ap50", "mask_ap50"]}
TASKS = {name: part.task({}) for name, part in sorted(catalog.parts("heads").items())}
# one that looks at one object an image is not for scenes of several
FOUND = [name for name in fakes.largest_heads() if TASKS[name] in SCORES and not catalog.find("heads", name).alone]
# at 3e-3 scores of poses swing so far that one may be high although a term of the loss is missing
STEP_SIZES = {"openpose": 1e-3, "personlab": 1e-3}
# a step of hundreds of boxes takes longer, and shows nothing more
SAMPLES = {"keypoint_rcnn": {"samples": 128}}
FIRST_CLASS = ("openpose", "personlab")  # find objects of that class alone; the others are background to them


@pytest.mark.parametrize("name", FOUND)
def test_a_detector_overfits_its_images(name, apart):
    """Boxes, masks and keypoints of the scenes it was trained on come back: AP50 of 0.95 and more."""
    apart(check_overfit, name)


def check_overfit(name):
    keras.utils.set_random_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(families.NARROW, name, families.NARROW.get(name, {}) | SAMPLES.get(name, {}))
        model, batch = families.model_of(FAMILY, [name])
    if name in FIRST_CLASS:
        batch["classes"] = np.where(batch["classes"] == 0, 0, -1)
        assert (batch["classes"] == 0).sum() > 4
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9  # Keras's 0.99 is for thousands of steps: inference would still see the first ones
    model.compile(fused_optimizers.Adam(STEP_SIZES.get(name, 3e-3)))
    often = {key: np.concatenate([value] * 25) for key, value in batch.items()}  # starting an epoch takes longer
    for _ in range(12):
        model.fit(often, batch_size=4, verbose=0)
        found = families.scores(model, batch)[name]
        score = min(found[metric] for metric in SCORES[model.heads[name].task])
        if score >= 0.95:
            return
    assert score >= 0.95
