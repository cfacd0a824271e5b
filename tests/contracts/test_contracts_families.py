"""Every head has outputs and losses on every trained family of backbones, and some of them on the others."""

import fakes
import keras
import numpy as np
import pytest
from families import FAMILIES, OTHERS, model_of
from keras import ops


def heads_of(family):
    """All; on one of OTHERS, of which a head sees the levels alone, every fourth and the one that takes each level.

    NASNet's levels have odd sizes, so it has all heads too.
    """
    heads = list(fakes.trained_heads())
    return heads if family in (*FAMILIES, "nasnet_mobile") else sorted({"unet", *heads[OTHERS.index(family) % 4 :: 4]})


@pytest.mark.parametrize("family", (*FAMILIES, *OTHERS))
def test_every_head_answers(family):
    keras.utils.set_random_seed(0)
    model, batch = model_of(family, heads_of(family))
    batch = {key: value[:2] for key, value in batch.items()}
    outputs = model(batch["image"], training=True)
    # the others decode from the same outputs on every family
    assert model.heads["unet"].decode(outputs["unet"])["probabilities"].shape[:3] == batch["mask"].shape
    for name, head in model.heads.items():
        for term, value in head.compute_losses(batch, outputs[name]).items():
            assert np.isfinite(ops.convert_to_numpy(value.mean)) and float(value.mean) > 0, (name, term)
