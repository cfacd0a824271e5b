"""Every head on every family of backbones learns, what is saved is what was learnt, and XLA trains the same."""

import keras
import numpy as np
import pytest
from families import FAMILIES, check_saved, float32_losses, half_or_full, train


@pytest.mark.parametrize("family", FAMILIES)
def test_every_head_learns_saves_and_reloads(family, tmp_path):
    model, batch, losses = train(family, "float32", keras.optimizers.Adam(1e-3))
    for term, values in losses.items():
        assert np.isfinite(values).all()
        assert min(values[-3:]) < 0.95 * values[0], f"{term} did not fall: {values}"
    check_saved(model, batch, tmp_path / "m.keras")


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("family", ["unet_encoder"])
def test_xla_trains_and_predicts_the_same(family, policy):
    """On one plain network: on a CPU XLA takes minutes over a depthwise one."""
    model, batch, losses = train(family, policy, half_or_full(family, policy), jit=True)
    assert model.jit_compile is True
    half = policy != "float32"
    np.testing.assert_allclose(losses["loss"][-1], float32_losses(family)[-1], rtol=0.05 if half else 0.01)
    compiled = model.predict(batch["image"], verbose=0)
    model.compile("adam", jit_compile=False)
    plain = model.predict(batch["image"], verbose=0)
    for head in compiled:
        for key in compiled[head]:
            np.testing.assert_allclose(compiled[head][key], plain[head][key], atol=0.05 if half else 1e-4)
