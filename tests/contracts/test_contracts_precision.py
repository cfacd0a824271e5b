"""Every head on every family of backbones in half precision: it learns as in float32, and is saved."""

import keras
import numpy as np
import pytest
from families import CALM, FAMILIES, check_saved, float32_losses, half_or_full, train


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_learns_as_float32_does(family, policy, tmp_path):
    model, batch, losses = train(family, policy, half_or_full(family, policy))
    expected = float32_losses(family)
    assert expected[-1] < 0.97 * expected[0] and losses["loss"][-1] < 0.97 * losses["loss"][0]
    assert np.isfinite(losses["loss"]).all()
    check_saved(model, batch, tmp_path / "m.keras")
    off = losses["loss"][-1] / expected[-1] - 1
    if family in CALM:
        assert abs(off) < 0.05
        return
    mean_off = np.mean(losses["loss"]) / np.mean(expected) - 1
    assert abs(mean_off) < 0.1  # more than rounding does: something is broken
    if abs(off) > 0.05:
        pytest.xfail(f"not within 5% of float32: {off:+.1%} after the last step, {mean_off:+.1%} in the mean")


def test_float16_learns_with_the_loss_scaling_that_compile_adds():
    model, _, losses = train("unet_encoder", "mixed_float16", keras.optimizers.Adam(1e-3))
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert np.isfinite(losses["loss"]).all()
    assert losses["loss"][-1] < 0.95 * losses["loss"][0]
