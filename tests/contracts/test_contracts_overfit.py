"""Every detector alone finds the objects of the scenes that it was trained on."""

import keras
import pytest
from families import model_of, scores

from visiontasks.registry import catalog
from visiontasks.training import fused_optimizers

FAMILY = "unet_encoder"
DETECTORS = [name for name in sorted(catalog.parts("heads")) if catalog.find("heads", name).task({}) == "detection"]


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
    model.compile(fused_optimizers.Adam(1e-3))
    for _ in range(8):
        model.fit(batch, batch_size=4, epochs=25, verbose=0)
        score = scores(model, batch)[name]["ap50"]
        if score >= 0.95:
            return
    assert score >= 0.95
