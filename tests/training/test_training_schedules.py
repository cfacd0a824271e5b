"""Learning rates over time, against Keras's own and by hand."""

import keras
import numpy as np
import pytest

from visiontasks.training import schedules


def rates(schedule, steps):
    return [float(schedule(i)) for i in steps]


def test_cosine_warms_up_and_ends_at_its_final_share():
    made = schedules.cosine(0.1, total_steps=110, steps_per_epoch=10, warmup_epochs=1, final=0.01)
    assert rates(made, [0, 5, 10]) == pytest.approx([0, 0.05, 0.1], abs=1e-6)
    assert rates(made, [60, 110, 500]) == pytest.approx([0.0505, 0.001, 0.001], abs=1e-6)


@pytest.mark.parametrize("warmup", [0, 20])
def test_cosine_equals_keras(warmup):
    ours = schedules.cosine(0.1, total_steps=100, steps_per_epoch=10, warmup_epochs=warmup / 10, final=0.02)
    theirs = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else 0.1,
        decay_steps=100 - warmup,
        alpha=0.02,
        warmup_target=0.1 if warmup else None,
        warmup_steps=warmup,
    )
    np.testing.assert_allclose(rates(ours, range(120)), rates(theirs, range(120)), atol=1e-7)


def test_a_run_of_one_epoch_is_not_all_warm_up():
    for epochs, peak in ((1, 25), (2, 50), (3, 75), (5, 100)):
        made = schedules.cosine(0.1, total_steps=100 * epochs, steps_per_epoch=100, warmup_epochs=1)
        values = rates(made, range(100 * epochs + 1))
        assert (
            np.argmax(values) == peak and max(values) == pytest.approx(0.1) and values[-1] == pytest.approx(0, abs=1e-8)
        )
    made = schedules.cosine(0.1, total_steps=2, steps_per_epoch=10, warmup_epochs=1)
    assert all(rate > 0 for rate in rates(made, [0, 1]))


def test_step_equals_keras_after_the_warm_up():
    made = schedules.step(0.1, total_steps=100, steps_per_epoch=10, epochs=[6, 3], factor=0.5, warmup_epochs=1)
    # Keras changes after the boundary, we at the first update of the epoch
    keras_own = keras.optimizers.schedules.PiecewiseConstantDecay([29, 59], [0.1, 0.05, 0.025])
    steps = range(10, 100)
    np.testing.assert_allclose(rates(made, steps), rates(keras_own, steps), rtol=1e-6)
    assert rates(made, [0, 5]) == pytest.approx([0, 0.05])


def test_constant():
    assert rates(schedules.constant(0.1, 10, 5), [0, 9]) == pytest.approx([0.1, 0.1])


@pytest.mark.parametrize("name", ["constant", "cosine", "step"])
def test_survives_saving(name):
    made = getattr(schedules, name)(0.1, total_steps=50, steps_per_epoch=5, warmup_epochs=2)
    again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(made))
    assert rates(again, [0, 3, 20, 49]) == rates(made, [0, 3, 20, 49])
