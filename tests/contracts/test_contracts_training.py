"""Every family learns, and every head in every precision and compiled; what is saved is what was learned."""

import keras
import numpy as np
from covering import LEARNS
from families import check_learned, check_saved, train

COVERS = LEARNS


def test_heads_learn_save_and_reload(family, precision, backend, names, apart, tmp_path):
    apart(check, family, precision, backend, names, tmp_path / "m.keras")


def check(family, precision, backend, names, path):
    model, batch, losses = train(family, precision, names, jit=backend == "xla")
    check_learned(losses)
    check_saved(model, batch, path)
    if backend == "xla":
        assert model.jit_compile is True
        check_compiled(model, batch, precision)


def check_compiled(model, batch, precision):
    """Predictions with XLA and without it."""
    half = precision != "float32"
    compiled = model.by_head(model.predict(batch["image"], verbose=0))
    model.compile("adam", jit_compile=False)
    plain = model.by_head(model.predict(batch["image"], verbose=0))
    for head in compiled:
        placed = {"boxes", "classes"} & compiled[head].keys()
        for key in () if placed else compiled[head]:
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


def test_float16_learns_with_the_loss_scaling_that_compile_adds():
    model, _, losses = train("lenet5", "mixed_float16", ["classifier"], keras.optimizers.Adam(3e-3))
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert np.isfinite(losses["loss"]).all()
    assert losses["loss"][-1] < 0.95 * losses["loss"][0]
