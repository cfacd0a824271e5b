"""How many images a second a recipe's Loader gives, and how long a training step waits for them."""

import itertools
import time

import keras
import numpy as np

from gpu_measures import child, network, recipes
from visiontasks import build
from visiontasks.training.devices import cores

SECONDS, TINY_SECONDS = 5.0, 0.2
STEPS, TINY_STEPS = 128, 8  # of an epoch
AHEAD = 2  # batches for each worker that a Loader makes ahead
UNCOUNTED = 3  # first steps of an epoch, in which queues fill


def measure(recipe: str, precision: str, tiny: bool):
    data = recipes.data_of(recipes.measured()[recipe])
    data = data if data and recipes.folder(data) else None  # images to read where there are some, or scenes to draw
    child.report(data=data)
    seconds = TINY_SECONDS if tiny else SECONDS
    images_per_second = {}
    for workers in (cores(), min(cores(), build.MOST_WORKERS)):  # all that could, then those of a training
        if workers not in images_per_second:
            made = recipe_of(recipe, tiny, data, workers)
            loader, _ = build.loaders(made)
            images_per_second[workers] = images_a_second(loader, seconds)
            loader.close()
    child.report(images_per_second=images_per_second, workers=workers, worker_kind=made.data.worker_kind)
    model, loader = network.model_of(made, precision)
    batch = next(iter(loader))
    child.report(batch=len(batch["image"]))
    resident = network.resident(batch)
    network.seconds_of_steps(model, resident, 1)
    # reads each step's loss, as a training does
    watch = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: np.isfinite(logs["loss"]))
    alone = seconds_a_step(model, resident, seconds, watch, steps_per_epoch=STEPS)
    fed = seconds_a_step(model, loader, seconds, watch)
    child.report(resident_step_seconds=alone, fed_step_seconds=fed, waiting=max(0.0, 1 - alone / fed))
    loader.close()


def recipe_of(name, tiny, data, workers):
    """The recipe as it is trained, with long epochs where scenes are drawn."""
    made = network.recipe_of(name, tiny, f"data.workers={workers}", data=data)
    if data:
        return made
    count = made.data.batch * (TINY_STEPS if tiny else STEPS)
    return network.recipe_of(name, tiny, f"data.workers={workers}", f"data.train.count={count}")


def images_a_second(loader, seconds: float) -> float:
    """Images a second of a Loader alone, once what it has made ahead is used up."""
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    for _ in range(AHEAD * loader.workers):
        next(batches)
    begun, count, taken = time.perf_counter(), 0, 0.0
    while taken < seconds:
        count += len(next(batches)["image"])
        taken = time.perf_counter() - begun
    return count / taken


def seconds_a_step(model, data, seconds: float, *watch, **steps) -> float:
    """Seconds a step of `fit` with these callbacks, over about `seconds`."""
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
