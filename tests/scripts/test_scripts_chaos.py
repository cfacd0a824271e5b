"""scripts/chaos.py in small: a training that is killed, and resumed in a new process, ends in the same bits."""

import sys
import time
from pathlib import Path

import forked
import keras
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import chaos


@pytest.mark.skipif(keras.backend.backend() != "tensorflow" or not forked.SAFE, reason="needs processes that fork")
def test_a_training_that_is_killed_twice_ends_in_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(chaos, "context", forked.context)
    (whole, _) = chaos.undisturbed(tmp_path / "whole", "classifier")
    run = tmp_path / "killed"
    (run / "checkpoints").mkdir(parents=True)
    for number in (3, 11):  # within the first epoch, which is a stage of its own; later one of everything
        process = chaos.start(run, "classifier", resume=number > 3)
        while process.is_alive() and not (run / "state" / f"{number}.state").exists():
            time.sleep(0.01)
        process.kill()
        process.join()
    process = chaos.start(run, "classifier", resume=True)
    process.join()
    assert process.exitcode == 0
    assert chaos.result(run) == whole
