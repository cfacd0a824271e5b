"""A recipe's model and batch on the device, and what its training step costs, on any backend."""

import dataclasses
import math
import resource
import time

import keras

from gpu_measures import recipes
from visiontasks import build
from visiontasks.backbones.cost import layer_costs
from visiontasks.training import fit

SCHEDULE = {"total_steps": 1000, "steps_per_epoch": 100}  # of the learning rate: more steps than are measured
IMAGES = 32  # of generated scenes, at most; a larger batch repeats them
OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "out of memory", "OOM")


def recipe_of(name: str, tiny: bool, *words: str, data: str | None = None):
    """A checked recipe on generated scenes, or a data set of `recipes.DATA`; small if `tiny`."""
    own = recipes.overrides(recipes.measured()[name], data, tiny)
    return build.recipe(name, [*own, *words], data and str(recipes.folder(data)))[0]


def model_of(recipe, precision: str):
    """(the recipe's model, compiled for the stage that trains everything, its training loader)."""
    keras.utils.set_random_seed(recipe.run.seed)
    keras.config.set_dtype_policy(precision)
    loader, _ = build.loaders(recipe)
    model = build.model(recipe, loader)
    fit.prepare(model, recipe.train, False, SCHEDULE)
    return model, loader


def batch_of(recipe, size: int) -> dict:
    """`size` generated scenes as the recipe's training augments them, NumPy arrays by field."""
    count = min(size, IMAGES)
    few = dataclasses.replace(recipe.data, train={**recipe.data.train, "count": count}, batch=count)
    loader, _ = build.loaders(recipe.replace(data=few))
    arrays = next(iter(loader))
    loader.close()
    return {key: repeated(value, size) for key, value in arrays.items()}


def repeated(array, size: int):
    """The rows again and again, until there are `size` of them."""
    return array[[row % len(array) for row in range(size)]]


def resident(batch):
    """An endless data set of one batch, {field: array} or (images, targets), that lies on the device.

    (TensorFlow copies its own from the host in each step.)
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.data.Dataset.from_tensors(batch).repeat()
    placed = keras.tree.map_structure(keras.ops.convert_to_tensor, batch)

    def forever():
        while True:
            yield placed if isinstance(placed, tuple) else (placed,)

    return forever()


def seconds_of_steps(model, data, steps: int) -> tuple[float, dict]:
    """(seconds of so many steps of Keras's `fit`, its last logs); waits for the device."""
    begun = time.perf_counter()
    history = model.fit(data, steps_per_epoch=steps, epochs=1, verbose=0, shuffle=False).history
    # the logs are numbers, so the last step is done
    return time.perf_counter() - begun, {key: values[-1] for key, values in history.items()}


def seconds_a_step(model, data, seconds: float) -> tuple[float, int, dict]:
    """(seconds a step over about `seconds`, how many steps, the last logs); shorter tries are not counted.

    `fit` itself takes some hundredths of a second, so few steps would look slow.
    """
    steps = 2
    taken, logs = seconds_of_steps(model, data, steps)
    while taken < 0.7 * seconds:
        steps = math.ceil(steps * min(10, max(1.5, seconds / taken)))
        taken, logs = seconds_of_steps(model, data, steps)
    return taken / steps, steps, logs


def peak_memory() -> tuple[int, str]:
    """(the largest number of bytes so far, of what)."""
    name = keras.backend.backend()
    if name == "jax":
        import jax

        stats = jax.local_devices()[0].memory_stats()
        if stats:
            return stats["peak_bytes_in_use"], "device"
    elif name == "torch":
        import torch

        if torch.cuda.is_available():
            return torch.cuda.max_memory_allocated(), "device"
    else:
        import tensorflow as tf

        if tf.config.list_physical_devices("GPU"):
            return tf.config.experimental.get_memory_info("GPU:0")["peak"], "device"
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "process"


def step_flops(model, batch: dict) -> tuple[float, str]:
    """(floating-point operations of a training step on a batch, how they were counted)."""
    name, size = keras.backend.backend(), len(batch["image"])
    if name == "jax" and (counted := _jax_flops(model, batch)):
        return counted, "XLA's cost analysis of loss and gradient"
    if name == "torch":
        from torch.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False) as counter:
            model.train_on_batch(batch)
        return counter.get_total_flops(), "PyTorch's counter"
    # a multiply-add is two operations; the backward pass takes two products for each of the forward pass
    return 2 * 3 * size * sum(cost.multiply_adds for cost in layer_costs(model.backbone)), "3 × the backbone's layers"


def _jax_flops(model, batch):
    import jax

    groups = (model.trainable_variables, model.non_trainable_variables, model.metrics_variables)
    groups = [*groups, model.optimizer.variables]
    values = [[jax.ShapeDtypeStruct(v.shape, v.value.dtype) for v in group] for group in groups]

    def loss(trainable, non_trainable, metrics, optimizer):  # the optimizer's hold the loss scale
        return model.compute_loss_and_updates(
            trainable, non_trainable, metrics, batch, None, None, training=True, optimizer_variables=optimizer
        )

    with jax.default_device(jax.local_devices(backend="cpu")[0]):  # the only one that can tell before it compiles
        lowered = jax.jit(jax.value_and_grad(loss, has_aux=True)).lower(*values)
    return (lowered.cost_analysis() or {}).get("flops")


def out_of_memory(error: BaseException) -> bool:
    """Whether a backend's error says that memory ran out."""
    return isinstance(error, MemoryError) or any(word in f"{type(error).__name__} {error}" for word in OUT_OF_MEMORY)
