"""A recipe's training step: is it right in this precision, how fast is it, what does it need?"""

import keras
import numpy as np

from gpu_measures import child, network

# images a step: with the recipes' own eight or sixteen, a GPU waits for Python
BATCH = 64
FIRST_STEPS = 20  # of which the loss scale is noted one by one
SECONDS, TINY_SECONDS = 3.0, 0.0


def measure(recipe: str, precision: str, tiny: bool):
    made = network.recipe_of(recipe, tiny)
    size = made.data.batch if tiny else BATCH
    with child.beside_others():
        batch = network.batch_of(made, size)
        model, loader = network.model_of(made, precision)
        child.report(batch=size, size=list(made.data.size), parameters=model.count_params())
        data = network.resident(batch)
        seconds, first = network.seconds_of_steps(model, data, 1)
        child.report(first_step_seconds=seconds, first_loss=first["loss"])
        flops, counted = network.step_flops(model, batch)
        child.report(flops=flops, flops_by=counted)
        scales = [loss_scale(model)]
        if scales[0] is not None:
            for _ in range(2 if tiny else FIRST_STEPS):
                network.seconds_of_steps(model, data, 1)
                scales.append(loss_scale(model))
    with child.alone():
        seconds, steps, logs = network.seconds_a_step(model, data, TINY_SECONDS if tiny else SECONDS)
    peak, of = network.peak_memory()
    child.report(step_seconds=seconds, images_per_second=size / seconds, peak_bytes=peak, memory_of=of)
    if scales[0] is not None:
        child.report(loss_scales=[*scales, loss_scale(model)])
    child.report(steps=steps, last_loss=logs["loss"], not_finite=not_finite(model, logs))
    loader.close()


def loss_scale(model) -> float | None:
    """The factor of the losses in mixed_float16 now; None in other precisions."""
    scale = getattr(model.optimizer, "dynamic_scale", None)
    return None if scale is None else float(keras.ops.convert_to_numpy(scale.value))


def not_finite(model, logs) -> list[str]:
    """The loss terms and the weights that hold NaN or infinities."""
    losses = [name for name, value in logs.items() if not np.isfinite(value)]
    weights = (v for v in model.weights if not np.isfinite(keras.ops.convert_to_numpy(v.value)).all())
    return losses + [variable.path for variable in weights]
