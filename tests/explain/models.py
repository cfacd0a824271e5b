"""A small classifier and its images, which the tests of this room share."""

import functools

import fakes
import keras

from visiontasks.heads.classifier import Classifier
from visiontasks.model import VisionModel


@functools.cache
def classifier():
    """(a VisionModel with seeded random weights, uint8 images (2, 32, 32, 3))."""
    keras.utils.set_random_seed(0)
    model = VisionModel(fakes.backbone((32, 32)), Classifier(fakes.CLASSES))
    return model, fakes.images(2)["image"]
