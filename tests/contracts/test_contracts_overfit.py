"""Every detector alone finds the objects of the scenes that it was trained on."""

import keras
import pytest
from families import model_of

from visiontasks.evaluation.tasks.task import tasks_of
from visiontasks.geometry import Placement
from visiontasks.recipe import catalog
from visiontasks.sample import Sample

FAMILY = "unet_encoder"
DETECTORS = [name for name in sorted(catalog.parts("heads")) if catalog.find("heads", name).task == "detection"]


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_overfits_its_images(name, apart):
    """Boxes of the scenes it was trained on come back: AP50 of 0.95 and more."""
    apart(check_overfit, name)


def check_overfit(name):
    keras.utils.set_random_seed(0)
    model, batch = model_of(FAMILY, [name])
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9  # Keras's 0.99 is for thousands of steps: inference would still see the first ones
    model.compile(keras.optimizers.Adam(1e-3))
    (task,) = tasks_of(model).values()
    for _ in range(8):
        model.fit(batch, batch_size=4, epochs=25, verbose=0)
        predictions, metric = model.predict(batch["image"], verbose=0)[name], task.metric()
        for row, image in enumerate(batch["image"]):
            objects = batch["classes"][row] >= 0
            sample = Sample(image, boxes=batch["boxes"][row][objects], classes=batch["classes"][row][objects])
            one = {key: value[row] for key, value in predictions.items()}
            metric.update(sample, task.restore(one, Placement(image.shape[:2], image.shape[:2])))
        score = metric.result()["ap50"]
        if score >= 0.95:
            return
    assert score >= 0.95
