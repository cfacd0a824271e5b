"""Every head learns, and every backend in every precision; what is saved is what was learned."""

import fakes
import keras
import numpy as np
import rounding
from covering import LEARNS, PRECISIONS
from families import NARROW, check_learned, check_saved, scores, train

from visiontasks.model import VisionModel
from visiontasks.training import fused_optimizers

COVERS = LEARNS
SMALL = {"ssd": NARROW["ssd"], "unet": {"filters": [32, 16, 16]}}


def test_heads_learn_save_and_reload(family, precision, backend, names, apart, tmp_path):
    apart(check, family, precision, backend, names, tmp_path / "m.keras")


def check(family, precision, backend, names, path):
    model, batch, losses = train(family, precision, names, jit=backend == "xla")
    check_learned(losses)
    check_saved(model, batch, path)
    assert backend != "xla" or model.jit_compile is True


SEEDS = 5
# of Student's t with 2 · 5 - 2 degrees of freedom: once in 10⁴ by chance
ONCE_IN_10_000 = 6.44
JUDGED = {"classifier": "top1", "unet": "mean_iou", "ssd": "ap50"}


def test_half_precision_scores_as_float32_does(apart):
    """Five trainings each, on what they learn from: the mean score is not lower than chance between seeds explains.

    A score that does not vary may be lower by one image or object of all that are scored.
    """
    apart(check_scores)


def check_scores():
    batch = fakes.images(16)
    keras.config.set_dtype_policy("float32")
    weights = [judged(seed).get_weights() for seed in range(SEEDS)]  # float32 in each precision
    by_precision = {precision: scores_of_seeds(precision, batch, weights) for precision in PRECISIONS}
    for precision in ("mixed_bfloat16", "mixed_float16"):
        checks = []
        for name, metric in JUDGED.items():
            expected, found = (
                np.array([one[name][metric] for one in by_precision[key]]) for key in ("float32", precision)
            )
            chance = ONCE_IN_10_000 * np.sqrt((expected.var(ddof=1) + found.var(ddof=1)) / SEEDS)
            least = 1 / min(len(batch["image"]), (batch["classes"] >= 0).sum())
            lower = max(0.0, expected.mean() - found.mean())
            checks.append(rounding.Checked(f"{name}: {metric}, {expected.mean():.3f}", lower, max(chance, least)))
            assert expected.mean() > 0.5, f"{name} did not learn: {expected}"
        rounding.report(f"metrics of {precision}", checks)


def judged(seed):
    """A network with the heads that are judged."""
    keras.utils.set_random_seed(seed)
    heads = {name: fakes.heads()[name] for name in JUDGED}
    heads = {name: head(fakes.CLASSES, **SMALL.get(name, {})) for name, head in heads.items()}
    return VisionModel(fakes.backbone((32, 32), (1, 2, 3), width=8), heads)


def scores_of_seeds(precision, batch, weights):
    """The scores of trainings from each of these weights, by one compiled step."""
    keras.config.set_dtype_policy(precision)
    model = judged(0)
    optimizer = fused_optimizers.Adam(3e-3)
    if precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2**7)
    model.compile(optimizer, jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    first, found = [np.array(v) for v in model.optimizer.variables], []
    often = {key: np.concatenate([value] * 20) for key, value in batch.items()}  # starting an epoch takes longer
    for seed, start in enumerate(weights):
        model.set_weights(start)
        for variable, value in zip(model.optimizer.variables, first, strict=True):
            variable.assign(value)
        keras.utils.set_random_seed(seed)
        model.fit(often, batch_size=8, verbose=0)
        found.append(scores(model, batch))
    return found


def test_float16_learns_with_the_loss_scaling_that_compile_adds():
    model, _, losses = train("lenet5", "mixed_float16", ["classifier"], keras.optimizers.Adam(3e-3))
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert np.isfinite(losses["loss"]).all()
    assert losses["loss"][-1] < 0.95 * losses["loss"][0]
