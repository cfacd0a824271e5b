"""How many images a second a recipe's Loader gives, and how long a training step waits for them."""

import itertools
import time

import keras

from gpu_measures import child, network
from visiontasks.training import callbacks
from visiontasks.training.devices import cores

SECONDS, TINY_SECONDS = 5.0, 0.2
STEPS, TINY_STEPS = 128, 8  # of an epoch
UNCOUNTED = 3  # first steps of an epoch, in which queues fill


def measure(recipe: str, precision: str, tiny: bool):
    made = network.recipe_of(recipe, tiny)
    images = made.data.batch * (TINY_STEPS if tiny else STEPS)
    made = network.recipe_of(recipe, tiny, f"data.workers={cores()}", f"data.train.count={images}")
    seconds = TINY_SECONDS if tiny else SECONDS
    child.report(workers=cores(), worker_kind=made.data.worker_kind, batch=made.data.batch)
    model, loader = network.model_of(made, precision)
    child.report(images_per_second=images_a_second(loader, seconds))
    data = network.resident(network.batch_of(made, made.data.batch))
    network.seconds_of_steps(model, data, 1)
    watch = callbacks.StopOnNaN(loader)  # reads each step's loss, as in a training
    resident = seconds_a_step(model, data, seconds, watch, steps_per_epoch=STEPS)
    fed = seconds_a_step(model, loader, seconds, watch)
    child.report(resident_step_seconds=resident, fed_step_seconds=fed, waiting=max(0.0, 1 - resident / fed))
    loader.close()


def images_a_second(loader, seconds: float) -> float:
    """Of a Loader alone, once its workers have begun."""
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    next(batches)
    begun, count, taken = time.perf_counter(), 0, 0.0
    while taken < seconds:
        count += len(next(batches)["image"])
        taken = time.perf_counter() - begun
    return count / taken


def seconds_a_step(model, data, seconds: float, *watch, **steps) -> float:
    """Of `fit` with these callbacks, over about `seconds`."""
    clock = Clock(seconds)
    model.fit(data, epochs=10**6, callbacks=[*watch, clock], verbose=0, shuffle=False, **steps)
    return clock.seconds / clock.steps


class Clock(keras.callbacks.Callback):
    """Ends a training after so many seconds of steps; what lies between epochs does not count."""

    def __init__(self, limit: float):
        super().__init__()
        self.limit, self.seconds, self.steps, self._last = limit, 0.0, 0, 0.0

    def on_train_batch_end(self, batch, logs=None):
        now = time.perf_counter()
        if batch >= UNCOUNTED:
            self.seconds, self.steps = self.seconds + now - self._last, self.steps + 1
        self._last = now
        self.model.stop_training |= self.seconds >= self.limit
