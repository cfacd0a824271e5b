"""A training without gradients: it ends after a batch when it is asked to."""

import io

import fakes
import keras
import pytest
from blocks import loaders
from rich.console import Console

from visiontasks.heads.anomaly import Anomaly
from visiontasks.model import VisionModel
from visiontasks.signals import Stop, Stopped
from visiontasks.training.run_directory import RunDirectory
from visiontasks.training.statistics import fit_statistics


def test_a_stop_file_ends_it_after_a_batch_and_leaves_no_checkpoint(tmp_path, monkeypatch):
    keras.utils.set_random_seed(0)
    model, run = VisionModel(fakes.backbone((32, 32)), Anomaly(fakes.CLASSES)), RunDirectory.create(tmp_path, "test")
    seen, predict = [], model.backbone.predict_on_batch

    def count(images):
        seen.append(len(images))
        (tmp_path / "notice").touch()
        return predict(images)

    monkeypatch.setattr(model.backbone, "predict_on_batch", count)
    with pytest.raises(Stopped, match="the stop file .*notice"):
        fit_statistics(model, loaders(("label",))[0], run, Console(file=io.StringIO()), Stop(tmp_path / "notice"))
    assert seen == [4] and not run.best.exists()
