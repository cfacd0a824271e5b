"""Every head on every family of backbones in half precision: it learns as in float32, and is saved."""

import keras
import numpy as np
import pytest
from families import FAMILIES, check_saved, float32_losses, half_or_full, train


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_learns_as_float32_does(family, policy, tmp_path):
    model, batch, losses = train(family, policy, half_or_full(family, policy))
    assert np.isfinite(losses["loss"]).all()
    for steps in (slice(-1, None), slice(None)):  # the last, and the way there
        expected = np.mean(float32_losses(family)[steps])
        np.testing.assert_allclose(np.mean(losses["loss"][steps]), expected, rtol=0.05)
    assert float32_losses(family)[-1] < 0.8 * float32_losses(family)[0]
    check_saved(model, batch, tmp_path / "m.keras")


def test_float16_learns_with_the_loss_scaling_that_compile_adds():
    model, _, losses = train("unet_encoder", "mixed_float16", keras.optimizers.Adam(1e-3))
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert np.isfinite(losses["loss"]).all()
    assert losses["loss"][-1] < 0.95 * losses["loss"][0]
