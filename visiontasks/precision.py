"""The precision of a run: the recipe's or the GPU's, or on a CPU with bfloat16 the one whose steps are faster."""

import json
import math
import pickle
import subprocess
import sys
import textwrap
import time
from types import SimpleNamespace

from visiontasks.recipe.schema import Recipe
from visiontasks.training import devices

POLICIES = ("float32", "mixed_bfloat16")
# timing takes 20 s on a quiet machine, mostly TensorFlow's tracing, and gains nothing where float32 stays; on two cores
# EfficientNet-Lite0, a small network, learns from so many pixels in ten minutes
LONG = 8000 * 224 * 224  # pixels of a training for each core
MARGIN = 0.9  # a smaller difference may be noise, and float32 is more exact
MOST_SECONDS = 600
ROUNDS = 3


def resolve(recipe: Recipe, loader, capability: float | None) -> tuple[str, str]:
    """The Keras dtype policy of a run, and a line about it if it was timed.

    Args:
        recipe: the run's recipe.
        loader: the Loader of its training images.
        capability: see `devices.gpu_capability`.
    """
    policy = devices.precision(recipe.train.precision, capability)
    if recipe.train.precision != "auto" or capability is not None or not pays(recipe, loader):
        return policy, ""
    try:
        seconds = step_seconds(recipe, loader)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:  # such as bfloat16 that XLA rejects
        last = ((error.stderr or b"").decode(errors="replace").strip().splitlines() or [str(error)])[-1]
        return policy, f"precision: {policy} (the steps could not be timed: {textwrap.shorten(last, 200)})"
    policy, other = faster(seconds)
    return policy, f"precision: {policy} (a step takes {seconds[policy]:.2f} s, {seconds[other]:.2f} s in {other})"


def pays(recipe: Recipe, loader) -> bool:
    """Whether steps in bfloat16 may be faster here, and the training is so long that timing them costs little."""
    import keras

    from visiontasks import build
    from visiontasks.training.fit import epochs

    if keras.backend.backend() != "tensorflow" or recipe.train.devices == "all" or not devices.cpu_has_bfloat16():
        return False
    if not build.by_gradients(recipe):
        return False
    images = epochs(recipe.train, len(loader)) * len(loader) * recipe.data.batch
    return images * math.prod(recipe.data.size) >= LONG * devices.cores()


def faster(seconds: dict[str, float]) -> tuple[str, str]:
    """The policy to take, bfloat16 only if it is clearly faster, and the other one; from the seconds of a step."""
    return POLICIES[::-1] if seconds["mixed_bfloat16"] <= MARGIN * seconds["float32"] else POLICIES


def step_seconds(recipe: Recipe, loader) -> dict[str, float]:
    """{policy: seconds of a training step of a recipe}, the least of three in turn, on the loader's first batch.

    Another process takes them: the run draws the same random numbers and has the same memory as without.

    Raises:
        CalledProcessError, TimeoutExpired: the process failed, or took far longer than it does on a busy machine.
    """
    task = (recipe, len(loader), loader.fields, loader.names, next(iter(loader)))
    command = [sys.executable, "-m", "visiontasks.precision"]
    done = subprocess.run(command, input=pickle.dumps(task), capture_output=True, check=True, timeout=MOST_SECONDS)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    """The other process: a task of `step_seconds` comes in, its seconds go out."""
    recipe, length, fields, names, batch = pickle.load(sys.stdin.buffer)
    devices.suit_few_cores()
    import keras

    from visiontasks import build
    from visiontasks.training.fit import epochs, prepare

    count, freeze = epochs(recipe.train, length), recipe.train.freeze
    steps = {"total_steps": count * length, "steps_per_epoch": length}
    models = {}
    for policy in POLICIES:
        keras.config.set_dtype_policy(policy)
        models[policy] = build.model(recipe, SimpleNamespace(fields=fields, names=names, bits=recipe.data.bits))
        prepare(models[policy], recipe.train, bool(freeze) and freeze.epochs >= count, steps)
        models[policy].train_on_batch(batch)  # traces the step
    taken = {policy: [] for policy in POLICIES}
    for _ in range(ROUNDS):
        for policy, model in models.items():
            start = time.perf_counter()
            model.train_on_batch(batch)
            taken[policy].append(time.perf_counter() - start)
    print(json.dumps({policy: min(times) for policy, times in taken.items()}))


if __name__ == "__main__":
    main()
