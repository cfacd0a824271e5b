"""A recipe's images a second from its own batch on, four times as many each time, until memory ends or time."""

from gpu_measures import child, network, steps

MOST, TINY_MOST = 1024, 4


def measure(recipe: str, precision: str, tiny: bool):
    made = network.recipe_of(recipe, tiny)
    model, loader = network.model_of(made, precision)
    loader.close()
    images_per_second, size, factor = {}, made.data.batch, 4
    while size <= (TINY_MOST if tiny else MOST):
        try:
            data = network.resident(network.batch_of(made, size))
            network.seconds_of_steps(model, data, 1)
            seconds, _, logs = network.seconds_a_step(model, data, steps.TINY_SECONDS if tiny else steps.SECONDS)
        except Exception as error:
            if not network.out_of_memory(error):
                raise
            child.report(out_of_memory=size)
            if factor == 2:
                return
            size, factor = size // 2, 2  # between the last that fits and this one
            continue
        images_per_second[size] = size / seconds
        peak, of = network.peak_memory()
        child.report(batch=size, images_per_second=images_per_second, peak_bytes=peak, memory_of=of)
        child.report(not_finite=steps.not_finite(model, logs))
        if factor == 2:
            return
        size *= 2 if tiny else factor
