"""Devices: precision by compute capability, a batch process, and replicas that learn as one device does."""

import json
import os
import subprocess
import sys

import forked
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


@pytest.mark.parametrize(
    ("flags", "has"),
    [
        ("fpu avx512f avx512_bf16 clzero", True),
        ("fpu avx512f avx512_bf16 avx512_fp16 amx_bf16 amx_tile amx_int8", False),
        ("fpu avx2 avx512f", False),
    ],
)
def test_a_processor_s_flags_say_whether_it_has_bfloat16(flags, has, tmp_path):
    (tmp_path / "cpuinfo").write_text(
        "\n".join(2 * ["processor\t: 0", f"flags\t\t: {flags}", "bugs\t\t: avx512_bf16", ""])
    )
    assert devices.cpu_has_bfloat16(tmp_path / "cpuinfo") == has


def test_a_processor_that_says_nothing_has_no_bfloat16(tmp_path):
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nFeatures\t: fp asimd bf16\n")  # ARM's
    assert not devices.cpu_has_bfloat16(tmp_path / "cpuinfo")
    assert not devices.cpu_has_bfloat16(tmp_path / "missing")


def test_a_missing_gpu_is_an_error():
    with pytest.raises(UserError, match="^devices: "):
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


STEPS = """
import sys
import tensorflow as tf
replicas, path = int(sys.argv[1]), sys.argv[2]
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
import keras, numpy as np
from visiontasks import api, heads
from visiontasks.data.sources.shapes import Shapes
from visiontasks.model import VisionModel
from visiontasks.training import devices
SIZE, ROWS = (32, 32), 20
source = Shapes(ROWS, size=SIZE, objects=(1, 3))
samples = [source[i] for i in range(ROWS)]
batch = {"image": np.stack([s.image for s in samples])}
batch |= {field: np.stack([getattr(s, field) for s in samples]) for field in ("label", "tags", "mask")}
batch["boxes"], batch["classes"] = np.zeros((ROWS, 4, 4), np.float32), np.full((ROWS, 4), -1, np.int32)
for row, sample in enumerate(samples):
    batch["boxes"][row, : len(sample.boxes)], batch["classes"][row, : len(sample.boxes)] = sample.boxes, sample.classes
# most of the labels lie in the first half of each batch, the first replica's; the last two images only fill up
rows = np.arange(ROWS)
empty = (rows % 4 == 3) | (rows >= ROWS - 2)
batch["known"] = np.ones((ROWS, len(source.names["classes"])), bool)
batch["known"][empty] = False
batch["known"][rows % 4 == 1, 0] = False
batch["label"][empty | (rows % 4 == 1)] = -1
batch["tags"][empty] = -1
batch["tags"][rows % 4 == 2, 0] = -1
batch["mask"][empty, 4:] = 255
batch["mask"][rows >= ROWS - 2] = 255
batch["classes"][empty] = -1
batch["image"][rows >= ROWS - 2] = 0
with devices.scope("all", 4):
    backbone = api.backbone("unet_encoder", filters=4, depth=4, batch_norm=False, input_shape=(*SIZE, 3))
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.Conv2D):
            layer.kernel_regularizer = keras.regularizers.L2(0.01)
    names, levels = source.names, ["C2", "C3"]
    model = VisionModel(
        backbone,
        {
            "classifier": heads.Classifier(names["label"]),
            "tagger": heads.Tagger(names["tags"]),
            "unet": heads.UNet(
                names["mask"], filters=[8, 8, 8], batch_norm=False, loss={"cross_entropy": 1, "dice": 0.5}
            ),
            "ssd": heads.SSD(names["classes"], levels=levels, extra=[], batch_norm=False),
            "retinanet": heads.RetinaNet(names["classes"], levels=levels, filters=8, convs=1),
            "yolo": heads.YOLO(names["classes"], levels=levels, bins=4),
            "embedder": heads.Embedder(names["label"], size=4, scale=2.0),
        },
        loss_weights={"ssd": 0.5},
    )
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False  # each replica's statistics are its own images'
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        fan_in = max(1, int(np.prod(variable.shape[:-1])))
        variable.assign(rng.normal(0, fan_in**-0.5 if len(variable.shape) > 1 else 0.01, variable.shape))
    model.compile(keras.optimizers.SGD(0.01))
dataset = tf.data.Dataset.from_tensor_slices(batch).batch(4)
trained = model.fit(dataset, verbose=0).history
assert model.optimizer.iterations.numpy() == 5
losses = {name: value[0] for name, value in trained.items()}
losses |= {f"val_{name}": value for name, value in model.evaluate(dataset, verbose=0, return_dict=True).items()}
terms = [name for name in losses if name.startswith("val_") and name != "val_loss"]
weighted = sum(losses[name] * (0.5 if "/ssd/" in f"/{name[4:]}" else 1) for name in terms)
penalty = float(sum(model.losses))
np.testing.assert_allclose(losses["val_loss"], weighted + penalty, rtol=1e-6)
np.savez(path, *model.get_weights(), **losses)
"""


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute")
def test_two_replicas_learn_as_one_device_with_unlabeled_images_and_a_padded_batch(tmp_path):
    """Five steps of every head without a random choice; of R-CNN each replica draws its own samples."""
    saved = []
    for replicas in ("1", "2"):
        path = tmp_path / f"{replicas}.npz"
        done = forked.python("-c", STEPS, replicas, str(path))
        assert done.returncode == 0, done.stderr[-3000:]
        saved.append(dict(np.load(path)))
    one, two = saved
    assert one.keys() == two.keys() and "val_loss" in one
    for name, value in one.items():
        if name.startswith("arr_"):
            np.testing.assert_allclose(two[name], value, rtol=0, atol=1e-6, err_msg=name)
        else:
            np.testing.assert_allclose(two[name], value, rtol=1e-5, err_msg=name)


SIZES = """
import json, sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras, numpy as np
from visiontasks import api, heads
from visiontasks.model import VisionModel
from visiontasks.training import devices
keras.utils.set_random_seed(0)
def batch(side):
    image, known = np.full((4, side, side, 3), 99, np.uint8), np.ones((4, 2), bool)
    # TensorFlow has no mean over replicas of truth values
    return {"image": image, "mask": np.ones((4, side, side), np.int32), "known": known}
first, second, third = (tf.data.Dataset.from_tensors(batch(side)) for side in (32, 48, 32))
options = tf.data.Options()
options.autotune.enabled = False  # to end an iterator, TensorFlow waits for the thread that tunes it, up to minutes
batches = first.concatenate(second).concatenate(third).with_options(options)
with devices.scope("all", 4):
    backbone = api.backbone("unet_encoder", filters=4, depth=4, input_shape=(None, None, 3))
    model = VisionModel(backbone, heads.UNet(2, filters=[4, 4, 4]))
    model.compile(keras.optimizers.SGD(0.01))
    first = model.fit(batches, verbose=0).history["loss"]
second = model.fit(batches, verbose=0).history["loss"]
score = model.evaluate(batches, verbose=0, return_dict=True)["loss"]
rows = [len(model.predict(np.full((4, n, n, 3), 9, np.uint8), verbose=0)["probabilities"]) for n in (32, 48)]
print("RESULT" + json.dumps([model.distribute_strategy.num_replicas_in_sync, *first, *second, score, *rows]))
"""


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute")
def test_two_replicas_take_images_of_several_sizes():
    done = forked.python("-c", SIZES)
    assert "RESULT" in done.stdout, done.stderr[-3000:]
    replicas, first, second, score, *rows = json.loads(done.stdout.split("RESULT")[1])
    assert replicas == 2 and rows == [4, 4]
    assert np.isfinite([first, second, score]).all() and second < first


def test_the_free_memory_is_the_least_of_the_host_s_and_the_container_s(tmp_path):
    files = {
        "proc/meminfo": "MemTotal: 9 kB\nMemAvailable:     5000 kB\n",
        "sys/fs/cgroup/memory.max": "max\n",
        "sys/fs/cgroup/memory.current": "1000\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert devices.free_host_memory(tmp_path) == 5000 * 1024
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("3000\n")
    assert devices.free_host_memory(tmp_path) == 2000
    (tmp_path / "sys/fs/cgroup/memory.stat").write_text("anon 300\ninactive_file 600\n")
    assert devices.free_host_memory(tmp_path) == 2600  # files that were read are dropped where memory is asked for
    assert devices.free_host_memory(tmp_path / "none") is None
