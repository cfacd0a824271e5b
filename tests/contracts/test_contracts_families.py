"""Every head has outputs and losses on every family of backbones."""

import fakes
import keras
import numpy as np
import pytest
from families import FAMILIES, OTHERS, model_of
from keras import ops


@pytest.mark.parametrize("family", (*FAMILIES, *OTHERS))
def test_every_head_answers(family):
    keras.utils.set_random_seed(0)
    model, batch = model_of(family, list(fakes.trained_heads()))
    batch = {key: value[:2] for key, value in batch.items()}
    outputs = model(batch["image"], training=True)
    # the others decode from the same outputs on every family
    assert model.heads["unet"].decode(outputs["unet"])["probabilities"].shape[:3] == batch["mask"].shape
    for name, head in model.heads.items():
        for term, value in head.compute_losses(batch, outputs[name]).items():
            assert np.isfinite(ops.convert_to_numpy(value.mean)) and float(value.mean) > 0, (name, term)
