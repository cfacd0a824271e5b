"""A recipe's images a second, with four times as many images a step each time, until memory or time ends."""

from gpu_measures import child, network, steps

FIRST, MOST, TINY_MOST = 64, 4096, 4


def measure(recipe: str, precision: str, tiny: bool):
    made = network.recipe_of(recipe, tiny)
    size, most, factor = (made.data.batch, TINY_MOST, 2) if tiny else (FIRST, MOST, 4)
    seconds_of, images_per_second, peak_bytes, ended = stepper(made, precision, tiny), {}, {}, False
    while size <= most:
        try:
            seconds, not_finite = seconds_of(size)
        except Exception as error:
            if not network.out_of_memory(error):
                raise
            child.report(out_of_memory=size)
            if size == 1 or size // 2 in images_per_second:
                return
            size, ended = size // 2, True
            # on JAX a step that fails takes the weights with it
            seconds_of = stepper(made, precision, tiny)
            continue
        images_per_second[size] = size / seconds
        if not ended:  # then the peak is that of what did not fit
            peak_bytes[size], memory_of = network.peak_memory()
            child.report(peak_bytes=peak_bytes, memory_of=memory_of)
        child.report(images_per_second=images_per_second, not_finite=not_finite)
        if ended:
            return
        size *= factor


def stepper(recipe, precision, tiny):
    """A function from a batch's size to (seconds a step, what is not finite), all with one model."""
    model, loader = network.model_of(recipe, precision)
    loader.close()

    def seconds_of(size):
        data = network.resident(network.batch_of(recipe, size))
        network.seconds_of_steps(model, data, 1)
        seconds, _, logs = network.seconds_a_step(model, data, steps.TINY_SECONDS if tiny else steps.SECONDS)
        return seconds, steps.not_finite(model, logs)

    return seconds_of
