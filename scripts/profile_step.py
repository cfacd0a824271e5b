"""What a recipe's training step spends its time on: the most expensive TensorFlow operations, by kind.

    python scripts/profile_step.py unet_seg [data.batch=4 …] [--top 5] [--steps 5]

Times are sums over all threads, so that on several cores they exceed the duration of a step.
"""

import argparse
import collections
import glob
import re
import tempfile
import time

from visiontasks.training import devices

devices.suit_few_cores()  # as the train command does, before TensorFlow starts its threads

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from tensorflow.tsl.profiler.protobuf import xplane_pb2  # noqa: E402

from visiontasks import build  # noqa: E402
from visiontasks.training.fit import prepare  # noqa: E402


def compiled(recipe):
    """(the recipe's model, compiled for the stage that trains everything; one batch)."""
    keras.config.set_dtype_policy(devices.precision(recipe.train.precision, devices.gpu_capability()))
    train, _ = build.loaders(recipe)
    model = build.model(recipe, train)
    prepare(model, recipe.train, False, {"total_steps": 1000, "steps_per_epoch": 100})
    return model, {name: np.asarray(value) for name, value in next(iter(train)).items()}


def kinds(folder, steps: int) -> dict[str, tuple[float, float]]:
    """{kind of operation: (milliseconds, calls) of a step} from a profile."""
    spent, calls = collections.Counter(), collections.Counter()
    for path in glob.glob(f"{folder}/**/*.xplane.pb", recursive=True):
        space = xplane_pb2.XSpace()
        with open(path, "rb") as file:
            space.ParseFromString(file.read())
        for plane in space.planes:
            for line in plane.lines:
                for event in line.events:
                    # NAME:KIND is an operation, but for the whole function; the rest are the executor's own spans
                    operation = re.fullmatch(r"[^:]+:([A-Z_]\w*)", plane.event_metadata[event.metadata_id].name)
                    if operation and "__inference_" not in operation[1]:
                        spent[operation[1]] += event.duration_ps / 1e9
                        calls[operation[1]] += 1
    return {kind: (spent[kind] / steps, calls[kind] / steps) for kind, _ in spent.most_common()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("words", nargs="*", help="of the recipe, such as data.batch=4")
    parser.add_argument("--top", type=int, default=5, help="how many kinds of operations to print")
    parser.add_argument("--steps", type=int, default=5)
    given = parser.parse_args()
    recipe, _ = build.recipe(given.recipe, given.words)
    steps = given.steps
    model, batch = compiled(recipe)
    for _ in range(3):
        model.train_on_batch(batch)
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        start = time.perf_counter()
        for _ in range(steps):
            model.train_on_batch(batch)
        step = (time.perf_counter() - start) / steps * 1e3
        tf.profiler.experimental.stop()
        found = kinds(folder, steps)
    total = sum(spent for spent, _ in found.values())
    print(
        f"{recipe.name}, {keras.config.dtype_policy().name}: a step takes {step:.0f} ms, its operations {total:.0f} ms"
    )
    for kind, (spent, calls) in list(found.items())[: given.top]:
        print(f"  {kind:40} {spent:8.1f} ms  {spent / total:5.1%}  {calls:5.0f} calls")


if __name__ == "__main__":
    main()
