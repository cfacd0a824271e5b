"""Our ResNet-50 and VGG-16 beside those of keras.applications: time to import, to build, and of a step, in turn.

    python scripts/bench_backbones.py [ROUNDS]

Both are trained by the same plain Keras `fit` under one classification layer, from random weights. torchvision strides
in ResNet-50's 3×3 convolutions, Keras in the 1×1 before them: so ours has 4.09 G multiply-adds, Keras's 3.86 G.
"""

import statistics
import subprocess
import sys
import time

from visiontasks.training import devices

devices.suit_few_cores()  # as the train command does, before TensorFlow starts its threads

import keras  # noqa: E402
import numpy as np  # noqa: E402

import visiontasks as vt  # noqa: E402

SIDE, BATCH, STEPS = 128, 8, 4
PAIRS = {"resnet50": "ResNet50", "vgg16": "VGG16"}


def classifier(inputs, features, classes=10, jit_compile=False):
    pooled = keras.layers.GlobalAveragePooling2D()(features)
    model = keras.Model(inputs, keras.layers.Dense(classes)(pooled))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss=loss, jit_compile=jit_compile)
    return model


def ours(name):
    backbone = vt.backbone(name, input_shape=(SIDE, SIDE, 3))
    return classifier(backbone.input, backbone.output["C5"])


def theirs(name, size=(SIDE, SIDE), **arguments):
    inputs = keras.Input((*size, 3), dtype="uint8")
    pixels = keras.layers.Rescaling(1 / 127.5, -1)(inputs)
    network = getattr(keras.applications, PAIRS[name])(include_top=False, weights=None, input_tensor=pixels)
    return classifier(inputs, network.output, **arguments)


def fresh_seconds(name, rounds=5):
    """Seconds of import and building in a fresh process, (ours, theirs): medians of alternating runs."""
    code = {
        "ours": f"import visiontasks as vt; vt.backbone({name!r}, input_shape=({SIDE}, {SIDE}, 3))",
        "theirs": "import keras; keras.applications."
        f"{PAIRS[name]}(include_top=False, weights=None, input_shape=({SIDE}, {SIDE}, 3))",
    }
    taken = {"ours": [], "theirs": []}
    for _ in range(rounds):
        for who, line in code.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", line], check=True, stderr=subprocess.DEVNULL)
            taken[who].append(time.perf_counter() - start)
    return tuple(statistics.median(times) for times in taken.values())


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (STEPS * BATCH, SIDE, SIDE, 3), dtype=np.uint8)
    labels = rng.integers(0, 10, STEPS * BATCH).astype("int32")
    for name in PAIRS:
        built = {ours: [], theirs: []}
        for _ in range(3):
            for make in (ours, theirs):
                start = time.perf_counter()
                model = make(name)
                built[make].append(time.perf_counter() - start)
        models = {make: make(name) for make in (ours, theirs)}

        def seconds(make, models=models):
            start = time.perf_counter()
            models[make].fit(images, labels, batch_size=BATCH, verbose=0, shuffle=False)
            return (time.perf_counter() - start) / STEPS

        for make in models:
            seconds(make)  # compile
        print(f"\n{name}, {keras.backend.backend()}, {SIDE}×{SIDE}, batch {BATCH}", flush=True)
        a, b = (statistics.median(built[make]) for make in (ours, theirs))
        fresh = fresh_seconds(name)
        print(f"import and build  visiontasks {fresh[0]:.2f} s  keras.applications {fresh[1]:.2f} s", flush=True)
        print(f"build  visiontasks {a:.2f} s  keras.applications {b:.2f} s  ratio {a / b:.3f}")
        ratios = []
        for number in range(rounds):
            order = (ours, theirs) if number % 2 else (theirs, ours)
            taken = {make: seconds(make) for make in order}
            ratios.append(taken[ours] / taken[theirs])
            print(f"step {number + 1:3}  {taken[ours]:.3f} s  {taken[theirs]:.3f} s  {ratios[-1]:.3f}", flush=True)
        print(f"median ratio of a step {statistics.median(ratios):.3f}", flush=True)
        del model


if __name__ == "__main__":
    main()
