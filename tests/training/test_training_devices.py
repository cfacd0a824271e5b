"""Devices: precision by compute capability, a batch process, and replicas that learn as one device does."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from visiontasks.errors import UserError
from visiontasks.training import devices


@pytest.mark.parametrize(
    ("asked", "capability", "policy"),
    [
        ("auto", None, "float32"),
        ("auto", 8.0, "mixed_bfloat16"),
        ("auto", 9.0, "mixed_bfloat16"),
        ("auto", 7.5, "mixed_float16"),
        ("mixed_float16", None, "mixed_float16"),
        ("float32", 9.0, "float32"),
    ],
)
def test_precision_follows_the_gpu(asked, capability, policy):
    assert devices.precision(asked, capability) == policy


def test_a_gpu_that_is_not_there_is_an_error():
    with pytest.raises(UserError, match="train.devices"):
        devices.check("gpu", None)


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="Linux's")
@pytest.mark.parametrize("cores, policy", [(2, "SCHED_BATCH"), (64, "SCHED_OTHER")])
def test_on_few_cores_threads_are_a_batch_job_s(cores, policy):
    code = (
        "import os, threading\n"
        "from visiontasks.training import devices\n"
        "devices.cores = lambda: {cores}\n"
        "devices.suit_few_cores()\n"
        "found = []\n"
        "t = threading.Thread(target=lambda: found.append(os.sched_getscheduler(0)))\n"
        "t.start(); t.join()\n"
        f"print(found == [os.{policy}])"
    ).replace("{cores}", str(cores))
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "True"


STEP = """
import json, sys
import tensorflow as tf
replicas = int(sys.argv[1])
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
import keras, numpy as np
from visiontasks import api, heads
from visiontasks.model import VisionModel
from visiontasks.training import devices
keras.utils.set_random_seed(0)
with devices.scope("all", 4):
    backbone = api.backbone("unet_encoder", filters=4, depth=2, batch_norm=False, input_shape=(16, 16, 3))
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.Conv2D):
            layer.kernel_regularizer = keras.regularizers.L2(0.01)
    model = VisionModel(backbone, {"a": heads.Classifier(3), "b": heads.UNet(3, batch_norm=False, filters=[4])})
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(0, 0.2, w.shape) for w in model.get_weights()])
    model.compile(keras.optimizers.SGD(0.1))
batch = {
    "image": rng.integers(0, 256, (4, 16, 16, 3), dtype=np.uint8),
    "label": np.array([0, 1, 2, 0], np.int32),
    "mask": rng.integers(0, 3, (4, 16, 16)).astype(np.int32),
}
history = model.fit(tf.data.Dataset.from_tensor_slices(batch).batch(4), verbose=0).history
print("RESULT" + json.dumps([history, [float(np.abs(w).sum()) for w in model.get_weights()]]))
"""


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute")
def test_two_replicas_take_the_step_of_one():
    found = []
    for replicas in ("1", "2"):
        done = subprocess.run([sys.executable, "-c", STEP, replicas], capture_output=True, text=True)
        assert "RESULT" in done.stdout, done.stderr[-3000:]
        found.append(json.loads(done.stdout.split("RESULT")[1]))
    (one, weights), (two, again) = found
    np.testing.assert_allclose(weights, again, rtol=1e-4)
    for term in one:
        np.testing.assert_allclose(one[term], two[term], rtol=1e-4, err_msg=term)


SIZES = """
import json, sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras, numpy as np
from visiontasks import build, heads
from visiontasks.model import VisionModel
from visiontasks.training import devices
keras.utils.set_random_seed(0)
def batches():
    for side in (32, 48, 32):
        boxes, classes = np.full((4, 1, 4), [4, 4, 20, 20], np.float32), np.zeros((4, 1), np.int32)
        yield ({"image": np.full((4, side, side, 3), 99, np.uint8), "boxes": boxes, "classes": classes},)
with devices.scope("all", 4):
    backbone = api.backbone("unet_encoder", filters=4, depth=4, input_shape=(None, None, 3))
    model = VisionModel(backbone, heads.YOLO(2, levels=["C2", "C3"], bins=4))
    model.compile(keras.optimizers.SGD(0.01))
    first = model.fit(batches(), verbose=0).history["loss"]
second = model.fit(batches(), verbose=0).history["loss"]
score = model.evaluate(batches(), verbose=0, return_dict=True)["loss"]
rows = [len(model.predict(np.full((4, n, n, 3), 9, np.uint8), verbose=0)["boxes"]) for n in (32, 48)]
print("RESULT" + json.dumps([model.distribute_strategy.num_replicas_in_sync, *first, *second, score, *rows]))
"""


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute")
def test_two_replicas_take_pictures_of_several_sizes():
    done = subprocess.run([sys.executable, "-c", SIZES], capture_output=True, text=True)
    assert "RESULT" in done.stdout, done.stderr[-3000:]
    replicas, first, second, score, *rows = json.loads(done.stdout.split("RESULT")[1])
    assert replicas == 2 and rows == [4, 4]
    assert np.isfinite([first, second, score]).all() and second < first
