"""Every head on every family of backbones learns, in half precision as in float32; what is saved is what was learnt."""

import concurrent.futures
import multiprocessing

import keras
import numpy as np
import pytest
from families import FAMILIES, check_saved, float32_losses, train


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def apart(family):
    """Calls a function in a process of this family's own: TensorFlow never gives back what its graphs take."""
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield lambda function, *arguments: pool.submit(function, *arguments).result()


# a CPU convolves float16 at a quarter of its speed: one network with depthwise convolutions, batch norms and shortcuts
# and one without any show it here, unet_encoder under every detector and XLA; bfloat16, with fewer bits, is for all
FLOAT16 = ("efficientnet_lite0", "lenet5")


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_every_head_learns_saves_and_reloads(family, policy, apart, tmp_path):
    if policy == "mixed_float16" and family not in FLOAT16:
        pytest.skip(f"float16 is shown on {', '.join(FLOAT16)}")
    apart(check, family, policy, tmp_path / "m.keras")


def check(family, policy, path):
    model, batch, losses = train(family, policy)
    for term, values in losses.items():
        assert np.isfinite(values).all(), term
        assert min(values[-3:]) < 0.95 * values[0], f"{term} did not fall: {values}"
    assert losses["loss"][-1] < 0.8 * losses["loss"][0], losses["loss"]
    if policy != "float32":
        for steps in (slice(-1, None), slice(None)):  # the last, and the way there
            expected = np.mean(float32_losses(family)[steps])
            np.testing.assert_allclose(np.mean(losses["loss"][steps]), expected, rtol=0.05)
    check_saved(model, batch, path)


def test_float16_learns_with_the_loss_scaling_that_compile_adds():
    model, _, losses = train("lenet5", "mixed_float16", keras.optimizers.Adam(3e-3))
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert np.isfinite(losses["loss"]).all()
    assert losses["loss"][-1] < 0.95 * losses["loss"][0]
