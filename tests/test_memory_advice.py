"""What is said of memory that is lacking, before a training and when it is."""

import types

import fakes
import pytest

from visiontasks import memory_advice
from visiontasks.errors import UserError
from visiontasks.heads.unet import UNet
from visiontasks.model import VisionModel
from visiontasks.training import devices
from visiontasks.training.estimate import step_bytes

GIB = 2**30


@pytest.fixture(scope="module")
def model():
    return VisionModel(fakes.backbone((32, 32)), UNet(3))


def advised(model, room, monkeypatch, error=None, batch=64, **named):
    """The lines of a training of 64 images a step with so much free memory."""
    lines = []
    monkeypatch.setattr(devices, "free_memory", lambda: room)
    with memory_advice.advised(
        step_bytes(model, batch), batch, types.SimpleNamespace(line=lines.append), False, **named
    ):
        if error is not None:
            raise error
    return lines


def test_item_72_a_step_that_does_not_fit_is_said_before_training(model, monkeypatch):
    assert advised(model, GIB, monkeypatch) == [] and advised(model, None, monkeypatch) == []
    (line,) = advised(model, 2**26, monkeypatch)
    assert "a step of 64 images takes about" in line and "64 MiB are free" in line
    assert "the system may end this process. Set data.batch=" in line and "fits by the estimate" in line


@pytest.mark.parametrize(("room", "advice"), [(2**25, r"32 MiB .*\. Set data\.batch=\d+, which"), (9, ".*network")])
def test_item_72_a_step_that_cannot_fit_is_an_error_before_training(model, room, advice, monkeypatch):
    with pytest.raises(UserError, match=rf"^data\.batch: a step of 64 images takes about .* and {advice}"):
        advised(model, room, monkeypatch)


@pytest.mark.parametrize(
    "error",
    [
        type("ResourceExhaustedError", (Exception,), {})("OOM when allocating tensor with shape[45]"),  # TensorFlow's
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 45 bytes."),  # JAX's
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 45 bytes."),  # PyTorch's
    ],
)
def test_item_72_memory_that_lacks_is_known_by_what_each_backend_says(error):
    assert "45" in memory_advice.out_of_memory(error)
    assert memory_advice.out_of_memory(RuntimeError("expected 45")) == ""


@pytest.mark.parametrize(("room", "advice"), [(GIB, "data.batch=32, which fits"), (None, "data.batch=32, or")])
def test_item_72_out_of_memory_is_an_error_with_the_batch_that_fits(model, room, advice, monkeypatch):
    with pytest.raises(UserError, match=rf"out of memory \(alloc 9\): a step of 64 images takes .*Set .*{advice}"):
        advised(model, room, monkeypatch, MemoryError("alloc 9"))


def test_item_72_a_network_whose_heads_alone_train_is_not_refused(model, monkeypatch):
    (line,) = advised(model, 9, monkeypatch, whole=False)
    assert "the system may end this process" in line


def test_item_72_a_batch_of_one_image_cannot_be_smaller(model, monkeypatch):
    with pytest.raises(UserError, match=r"Set a smaller data\.size or a smaller network\.$"):
        advised(model, None, monkeypatch, MemoryError("alloc 9"), batch=1)


def test_the_memory_of_several_devices_is_not_compared(model, monkeypatch):
    monkeypatch.setattr(devices, "free_memory", lambda: 9)
    lines = []
    with (
        pytest.raises(UserError, match="Set a smaller data.batch, or"),
        memory_advice.advised(step_bytes(model, 64), 64, types.SimpleNamespace(line=lines.append), True),
    ):
        raise MemoryError("alloc 9")
    assert lines == []


def test_other_errors_stay_what_they_are(model, monkeypatch):
    with pytest.raises(ZeroDivisionError):
        advised(model, GIB, monkeypatch, ZeroDivisionError())
