"""XLA trains and predicts what TensorFlow does without it."""

import numpy as np
import pytest
from families import float32_losses, train


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("family", ["unet_encoder"])
def test_xla_trains_and_predicts_the_same(family, policy):
    """On one plain network: on a CPU XLA takes minutes over a depthwise one."""
    model, batch, losses = train(family, policy, jit=True)
    assert model.jit_compile is True
    half = policy != "float32"
    np.testing.assert_allclose(losses["loss"][-1], float32_losses(family)[-1], rtol=0.05 if half else 0.01)
    compiled = model.predict(batch["image"], verbose=0)
    model.compile("adam", jit_compile=False)
    plain = model.predict(batch["image"], verbose=0)
    for head in compiled:
        for key in compiled[head]:
            if half and key in ("boxes", "classes"):
                continue  # in half precision two detections of all but equal scores change places
            np.testing.assert_allclose(compiled[head][key], plain[head][key], atol=0.05 if half else 1e-4)
