"""The same seed on the same machine gives the same bits, whatever else the machine does: every head, every source."""

import concurrent.futures
import contextlib
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import fakes
import forked
import keras
import numpy as np
import pytest
from families import NARROW

from visiontasks.data.pipeline import Loader
from visiontasks.data.sources.shapes import Shapes
from visiontasks.model import VisionModel

SIZE = (64, 64)
STEPS = 2
FIELDS = ("label", "tags", "mask", "boxes", "classes", "instance_masks", "keypoints")
AUGMENT = [
    {"HorizontalFlip": {"p": 0.5}},
    {"Affine": {"rotate": [-20, 20], "p": 0.7}},
    {"RandomBrightnessContrast": {"p": 0.5}},
    {"Mosaic": {"p": 0.5}},
]
DROPOUT = {"classifier": {"dropout": 0.5}, "unet": {"filters": [16, 16, 16], "dropout": 0.5}}
HERE = Path(__file__).resolve()
TRAIN = "import sys; sys.path[:0] = sys.argv[1:]; import test_contracts_determinism as t; t.main()"


def loader(workers=2, **changed):
    """Augmented scenes with every label, made by threads."""
    loading = {"fields": FIELDS, "size": SIZE, "batch": 4, "training": True, "mask_size": 28, "augment": AUGMENT}
    return Loader(Shapes(count=4 * STEPS, size=SIZE), workers=workers, **loading | changed)


def network(names, images):
    """The named heads, narrow and with dropout, on one small backbone."""
    keras.utils.set_random_seed(0)
    backbone, heads = fakes.backbone(SIZE, (1, 2, 3), width=8), {}
    for name in names:
        made = fakes.heads()[name]
        arguments = NARROW.get(name, {}) | fakes.posed(name) | DROPOUT.get(name, {})
        heads[name] = made(images.names[made.fields[0]], **arguments)
    return VisionModel(backbone, heads)


def digests(arrays):
    return {name: hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest() for name, array in arrays.items()}


def trained(names, eagerly):
    """{variable: a digest of its value} after a few steps: weights, statistics, the optimizer's, seed generators."""
    images = loader()
    model = network(names, images)
    if not model.by_gradients:
        model.adapt(np.concatenate([batch["image"] for batch in images]), batch_size=4)
        return digests({v.path: keras.ops.convert_to_numpy(v) for v in model.variables})
    # op by op all heads take a sixth of the time that a graph of them takes to trace; the kernels are the same
    model.compile(keras.optimizers.Adam(1e-3), run_eagerly=eagerly)
    model.optimizer.build(model.trainable_variables)
    model.fit(images, epochs=1, verbose=0)
    variables = [*model.variables, *model.optimizer.variables]
    assert all(np.isfinite(v).all() for v in variables)
    return digests({f"{i} {v.path}": keras.ops.convert_to_numpy(v) for i, v in enumerate(variables)})


def everything(beside):
    """The digests of all heads; of the two in a graph, and of the scenes, with busy processes beside if asked for."""
    if forked.SAFE:  # as many threads as a command has; pytest's workers have one each
        os.environ.pop("TF_NUM_INTRAOP_THREADS", None)
    found = {f"eager {key}": value for key, value in trained(fakes.trained_heads(), eagerly=True).items()}
    for name in fakes.largest_heads().keys() - fakes.trained_heads().keys():
        found |= {f"{name} {key}": value for key, value in trained([name], eagerly=True).items()}
    with busy(2 if beside else 0):
        found |= {f"graph {key}": value for key, value in trained(DROPOUT, eagerly=False).items()}
    return found


@contextlib.contextmanager
def busy(count):
    """Processes that compute without end."""
    jobs = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for job in jobs:
            job.kill()
            job.wait()


def main():
    """What an interpreter of its own prints: with another order of its sets, and nothing beside but the other one."""
    print(json.dumps(everything(beside=False)))


@pytest.mark.skipif(not forked.SAFE, reason="op by op is TensorFlow's; the steps of JAX are one graph")
def test_every_head_learns_the_same_bits_in_two_processes(tmp_path):
    """Both at once, one with further jobs beside; two steps on augmented images from threads."""
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    with (
        concurrent.futures.ProcessPoolExecutor(1, forked.context()) as pool,
        open(tmp_path / "errors", "w+") as errors,
        subprocess.Popen(
            [sys.executable, "-c", TRAIN, str(HERE.parents[1]), str(HERE.parent)],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
        ) as other,
    ):
        here = pool.submit(everything, True).result()
        printed, _ = other.communicate()
        errors.seek(0)
        assert other.returncode == 0, errors.read()[-3000:]
    there = json.loads(printed.splitlines()[-1])
    for name in fakes.largest_heads():
        assert any(name in key for key in here), name
    assert here.keys() == there.keys() and len(here) > 500
    assert not [key for key in here if here[key] != there[key]]
