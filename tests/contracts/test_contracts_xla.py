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
        placed = {"boxes", "classes"} & compiled[head].keys()
        for key in compiled[head].keys() - placed:
            np.testing.assert_allclose(compiled[head][key], plain[head][key], atol=0.05 if half else 1e-4)
        if placed and not half:  # in half precision too many have all but equal scores
            check_detections(compiled[head], plain[head])


def check_detections(ours, theirs):
    """The same boxes of the same classes; those whose scores differ by rounding may have changed places."""
    for row, scores in enumerate(ours["scores"]):
        for place in np.flatnonzero(ours["valid"][row]):
            near = theirs["valid"][row] & (np.abs(theirs["scores"][row] - scores[place]) < 1e-5)
            near &= theirs["classes"][row] == ours["classes"][row][place]
            away = np.abs(theirs["boxes"][row][near] - ours["boxes"][row][place]).max(axis=-1)
            assert away.min(initial=np.inf) < 1e-4, (row, place)
