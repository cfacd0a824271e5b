"""A VisionModel's training step against the same network in plain Keras `fit`, alternating in one run.

    python scripts/bench_overhead.py [rounds]

Both are the same layers, optimizer, loss and arrays; only the model class differs. Prints the seconds a step of each
round and the median of the rounds' ratios.
"""

import statistics
import sys
import time

from visiontasks.training import devices

devices.suit_few_cores()  # as the train command does, before TensorFlow starts its threads

import keras  # noqa: E402
import numpy as np  # noqa: E402

import visiontasks as vt  # noqa: E402
from visiontasks.backbones.backbone import taps_of  # noqa: E402

SIZE, BATCH, STEPS = (128, 128), 8, 20


def networks(head, backbone="efficientnet_lite0", size=SIZE):
    """(VisionModel, plain keras.Model) of the same architecture."""
    backbone = vt.backbone(backbone, input_shape=(*size, 3))
    made = vt.heads.UNet(3, filters=[64, 32, 16, 16, 8]) if head == "unet" else vt.heads.Classifier(3)
    ours = vt.VisionModel(backbone, made)
    inputs = keras.Input((*size, 3), dtype="uint8")
    other = keras.models.clone_model(ours)
    (copied,) = other.heads.values()
    features = {**other.backbone(inputs), "image": inputs}
    outputs = copied({tap: features[tap] for tap in copied.taps(taps_of(other.backbone))})
    return ours, keras.Model(inputs, outputs)


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (STEPS * BATCH, *SIZE, 3), dtype=np.uint8)
    targets = {
        "classifier": rng.integers(0, 3, STEPS * BATCH).astype("int32"),
        "unet": rng.integers(0, 3, (STEPS * BATCH, *SIZE)).astype("int32"),
    }
    for head, target in targets.items():
        ours, plain = networks(head)
        ours.compile("adam")
        plain.compile(
            "adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=ours.jit_compile
        )

        def seconds(model, target=target):
            start = time.perf_counter()
            model.fit(images, target, batch_size=BATCH, verbose=0, shuffle=False)
            return (time.perf_counter() - start) / STEPS

        for model in (ours, plain):
            seconds(model)  # compile
        print(f"\n{head}, {keras.backend.backend()}, {SIZE[0]}×{SIZE[1]}, batch {BATCH}")
        print("round  VisionModel  plain Keras  ratio")
        ratios = []
        for number in range(rounds):
            order = (ours, plain) if number % 2 else (plain, ours)
            taken = {id(model): seconds(model) for model in order}
            a, b = taken[id(ours)], taken[id(plain)]
            ratios.append(a / b)
            print(f"{number + 1:5}  {a:9.3f} s  {b:9.3f} s  {a / b:5.3f}")
        print(f"median ratio {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
