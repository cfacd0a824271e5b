"""The contracts on the other backends, each in a process of its own."""

import importlib.util
import os
import pickle
import subprocess
import sys
from pathlib import Path

import families
import keras
import pytest

ROOT = Path(__file__).resolve().parents[1]
TRAINING = [
    "tests/contracts/test_contracts_training.py",
    "tests/training/test_training_fit.py",
    "tests/training/test_training_optimizers.py",
    "tests/test_commands.py::test_train_reports_its_data_and_writes_a_run",
    "tests/test_commands.py::test_predict_writes_images_masks_and_json_in_original_pixels",
]
PARTS = ["tests/test_model.py", "tests/losses", "tests/ops", "tests/contracts/test_contracts_heads.py"]
PARTS += ["tests/contracts/test_contracts_layers.py"]
PARTS += ["tests/layers/test_layers_memory_bank.py::test_distances_and_weights_equal_slow_loops"]
PARTS += ["tests/layers/test_layers_patch_gaussians.py::test_distances_equal_a_slow_loop"]
PARTS += ["tests/backbones/test_backbones_contract.py", "tests/contracts/test_contracts_explaining.py"]
PARTS += ["tests/explain/test_explain_deconvolving.py", "tests/explain/test_explain_dreaming.py"]

# of the detectors' contracts a training step of the one with most states: outside it each op compiles alone, and the
# gradients of every head are in the precision part
LARGE = "(rcnn or openpose or personlab or retinanet or yolo) and not (keypoint_rcnn and saves_loads)"
# what a fresh process does, and what an argument or its wrong use is, is Python's; the size of images is a shape like
# another
SAME = (
    "fresh_process or wrong_use or every_argument or no_stride_divides or (one_size_after_another and not classifier)"
)
SAME += " or (saves_loads and not (keypoint_rcnn or classifier)) or (decodes_to and float16)"
SAME += " or saved_and_loaded_it or half_precision_differs"
# many people at several strides: of the loops in these decoders, each op compiles anew for each shape
SAME += " or crowds_come_back or isolated_people or short_offsets_correct or scores_leave_out or more_seeds"
# without a training step, every kind of layer, normalization across channels, batch norms, groups, depthwise
OWN = "lenet5 or zfnet or resnet20 or resnext50 or lite0 or unet_encoder"
BACKBONES = f"({OWN}) and (saving_and_loading or fixed_backbone) and not mobilenet"
# of maps one head: eager as they are, each costs ten seconds of compiling; the dream that is left out is two hundred
# compilations, and the one in float16 is a dream too
SAME += f" or (backbones_contract and not ({BACKBONES})) or (contracts_explaining and not (head and unet))"
SAME += " or excites_the_channel"
# JAX spends half of the time on optimizing what runs once; test_without_tensorflow.py trains as a user does
PLAIN = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1"}
# {part: (tests, which of them)}
CHOSEN = {
    # the five trainings that half precision is judged by are numbers, the same on each backend; how many epochs some
    # steps are is Python's
    "training": (TRAINING, "not (loss_scaling or half_precision or give_the_epochs)"),
    "precision": (["tests/contracts/test_contracts_precision.py"], ""),
    "parts": (PARTS, f"not ({LARGE} or {SAME})"),
}


def write_references(backend, folder, exhaustive):
    """TensorFlow's float64 passes that the rows of another backend are compared with."""
    from contracts.test_contracts_precision import expected_of, file_of

    for row in families.array(exhaustive=exhaustive):
        if row["backend"] == backend:
            what = row["family"], row["precision"], row["head"]
            (folder / file_of(*what)).write_bytes(pickle.dumps(expected_of(*what)))


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Where JAX finds what it has compiled before, such as a step of the same model once more, after loading it."""
    return tmp_path_factory.mktemp("compiled")


@pytest.mark.parametrize("part", CHOSEN)
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_contracts_hold(backend, part, request, tmp_path, compiled):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("started by the TensorFlow run")
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed (jax is in the test extra; torch is not, for its size)")
    tests, chosen = CHOSEN[part]
    words = ["-q", "-p", "no:cacheprovider", "-n", "0", "-m", "not other_values", "-k", chosen, *tests]
    words += ["--exhaustive"] * request.config.getoption("exhaustive")
    if part == "precision":
        write_references(backend, tmp_path, request.config.getoption("exhaustive"))
    environment = {**PLAIN, "JAX_COMPILATION_CACHE_DIR": str(compiled)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=ROOT,
        env={**os.environ, **environment, "KERAS_BACKEND": backend, "REFERENCES": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    print(done.stdout[-3000:])
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
