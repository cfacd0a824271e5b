"""`deterministic`: what it sets, and what an operation without such a kernel tells the user."""

import os

import forked
import keras
import numpy as np
import pytest

from visiontasks import cli
from visiontasks.training import determinism


def test_settings_for_the_start_are_added_once_to_those_that_are_there(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_a=1 --xla_b=2")
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    for _ in range(2):
        determinism.prepare()
    assert os.environ["XLA_FLAGS"] == "--xla_a=1 --xla_b=2 --xla_gpu_deterministic_ops=true"
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_an_operation_without_such_a_kernel_is_an_error_with_the_fix(monkeypatch, capsys):
    monkeypatch.setenv("XLA_FLAGS", "")

    def command(_):
        raise RuntimeError("put_ does not have a deterministic implementation, but you set\nmore")

    with pytest.raises(RuntimeError):  # nobody asked for it
        cli.run(command, ["x=1"], str)
    determinism.prepare()
    with pytest.raises(SystemExit) as end:
        cli.run(command, ["x=1"], str)
    error = capsys.readouterr().err
    assert end.value.code == 2 and "put_ does not have a deterministic implementation" in error
    assert error.startswith("error: train.deterministic: ") and "Set train.deterministic=false" in error
    assert not determinism.refused(OSError(28, "No space left on device", "/data/deterministic_kernel/3.state"))


def ask():
    """What the backend says of itself, and two steps with dropout."""
    import blocks
    import fakes

    determinism.require()
    model = blocks.classifier()
    model.compile("adam")
    batch = fakes.images(4)
    model.fit(batch["image"], batch["label"], batch_size=4, epochs=2, verbose=0)
    assert all(np.isfinite(v).all() for v in model.get_weights())
    if keras.backend.backend() == "torch":
        import torch

        return torch.are_deterministic_algorithms_enabled()
    from tensorflow.python.framework import config

    return config.is_op_determinism_enabled()


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX is asked as it starts, by XLA_FLAGS")
def test_the_backend_takes_such_kernels_alone(apart):
    if not forked.SAFE:
        pytest.skip("it would hold for this whole process")
    assert apart(ask) is True
