"""torchvision under its own Python: what the parity tests compare with."""

import functools
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest

from visiontasks.weights import transfer

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts/parity"
PHOTOGRAPHS = Path(__file__).resolve().parents[1] / "../shared/data/coco-mini/val2017"
# as many as the script's: fewer than by default, so that it takes seconds
RCNN_COUNTS = {"proposal_candidates": 300, "proposals": 200, "samples": 64}
RCNN_COUNTS |= {"training_candidates": 400, "training_proposals": 300}
PYTHON = "/usr/bin/python3"  # Debian's, which its package python3-torchvision belongs to


@functools.cache
def torchvision_is_there():
    try:
        return subprocess.run([PYTHON, "-c", "import torchvision"], capture_output=True).returncode == 0
    except OSError:
        return False


def run(script, folder, name, *words):
    """Let one of scripts/parity write FOLDER/NAME.pth and FOLDER/NAME.npz; skips without torchvision."""
    if not torchvision_is_there():
        pytest.skip("needs Debian's python3-torchvision, which .ci/run installs")
    done = subprocess.run([PYTHON, SCRIPTS / script, folder, name, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def detection(folder, name):
    """(what torchvision_detection.py wrote of a detector, its checkpoint), with photographs if there are any."""
    words = [f"photographs={PHOTOGRAPHS}"] if PHOTOGRAPHS.is_dir() else []
    run("torchvision_detection.py", folder, name, *words)
    return dict(np.load(folder / f"{name}.npz")), folder / f"{name}.pth"


def outputs(reference, which):
    """The outputs written for some images: "", "b_" or "photographs0_" and so on."""
    if f"{which}images" not in reference:
        pytest.skip(f"needs {PHOTOGRAPHS}")
    return {key.removeprefix(which): value for key, value in reference.items() if key.startswith(which)}


def check_final_boxes(predictions, expected, count=None):
    """Boxes within 0.01 pixels and scores within 1e-4 of `final_…` in what a script wrote, in the same order.

    `count` is the number of boxes of each image; by default the number written, and at least 20.
    """
    got = {key: keras.ops.convert_to_numpy(value) for key, value in predictions.items()}
    for i in range(2):
        boxes, scores, classes = (expected[f"final_{key}{i}"] for key in ("boxes", "scores", "classes"))
        assert len(scores) == got["valid"][i].sum() == (count or max(len(scores), 20))
        np.testing.assert_allclose(got["scores"][i], scores, atol=1e-4)
        # two whose scores differ by less than rounding may have changed places
        for place in range(len(scores)):
            near = np.flatnonzero(np.abs(scores - got["scores"][i][place]) < 1e-4)
            same = near[classes[near] == got["classes"][i][place]]
            assert len(same) and np.abs(boxes[same] - got["boxes"][i][place]).max(-1).min() < 0.01, place


def check_losses_and_gradients(model, expected, layer_of, terms, more=(), deep=()):
    """Losses within 1e-3 of `loss_…` ({ours: theirs}), and gradients of `grad_…` in what a script wrote.

    `more` are targets beside boxes and classes. `deep` are names of weights below many ReLUs with random weights, some
    of which rounding switches: torchvision's own gradient moves by 1% of its largest value where weights move by 3e-6.
    There the difference as a whole is small.
    """
    if keras.backend.backend() != "tensorflow":
        pytest.skip("takes gradients with TensorFlow")
    import tensorflow as tf

    (head,) = model.heads.values()
    targets = {"boxes": expected["boxes"], "classes": expected["classes"].astype("int32"), **dict(more)}
    with tf.GradientTape() as tape:
        computed = head.compute_losses(targets, model(expected["images"], training=True))
        losses = {name: term.mean for name, term in computed.items()}
        total = sum(losses.values())
    for ours, theirs in terms.items():
        np.testing.assert_allclose(losses[ours], expected[f"loss_{theirs}"], rtol=1e-3, err_msg=ours)
    variables = {v.path.removeprefix(f"{head.path}/"): v for v in model.trainable_variables}
    gradients = dict(zip(variables, tape.gradient(total, [v.value for v in variables.values()]), strict=True))
    watched = [key for key in expected if key.startswith("grad_")]
    assert len(watched) == 5
    for key in watched:
        module, _, tensor = key.removeprefix("grad_").rpartition(".")
        name = {"weight": "kernel", "bias": "bias", "scale_weight": "scale"}[tensor]
        theirs = expected[key]
        theirs = transfer.conv_kernel(theirs) if theirs.ndim == 4 else theirs.T
        ours = tf.convert_to_tensor(gradients[f"{layer_of(module)}/{name}"]).numpy()
        # below a pool two frameworks differ more: where two values are all but equal, either may be the largest
        largest = np.abs(ours - theirs).max() / np.abs(theirs).max()
        norm = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
        assert norm < 0.02 if any(name in key for name in deep) else largest < 1e-3, f"{key}: {largest}, {norm}"
