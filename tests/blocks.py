"""The images of `fakes` as a data set, and a run of training on it."""

import io

import fakes
import keras
from rich.console import Console

from visiontasks.data.pipeline import Loader
from visiontasks.data.sources.source import Source
from visiontasks.heads.classifier import Classifier
from visiontasks.model import VisionModel
from visiontasks.registry.catalog import tasks_of
from visiontasks.sample import Sample
from visiontasks.training.fit import fit
from visiontasks.training.position import Position
from visiontasks.training.run_directory import RunDirectory


class Blocks(Source):
    """The images of `fakes` as a source."""

    def __init__(self, count=8):
        super().__init__()
        self.batch, self.count = fakes.images(count), count
        self.fields = frozenset({"label", "tags", "mask"})
        self.names = {"label": fakes.CLASSES, "tags": fakes.CLASSES, "mask": fakes.CLASSES}

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return Sample(self.batch["image"][index], **{f: self.batch[f][index] for f in self.fields}, id=f"block {index}")

    def describe(self, index):
        return f"block {index}"


def loaders(fields, count=8):
    common = dict(fields=fields, size=(32, 32), batch=4, workers=0)
    return Loader(Blocks(count), training=True, **common), Loader(Blocks(count), **common)


def run(tmp_path, model, recipe, extra=(), count=8):
    fields = tuple(field for head in model.heads.values() for field in head.fields)
    train, val = loaders(fields, count)
    made = RunDirectory.create(tmp_path, "test")
    ended = fit(model, train, val, tasks_of(model), recipe, made, Console(file=io.StringIO()), extra)
    return made, ended


def classifier():
    keras.utils.set_random_seed(0)
    return VisionModel(fakes.backbone(), Classifier(fakes.CLASSES))


def during_validation(monkeypatch, call):
    """Have `call()` called before each batch of a validation."""
    with_samples = Loader.with_samples

    def validate(loader):
        for item in with_samples(loader):
            call()
            yield item

    monkeypatch.setattr(Loader, "with_samples", validate)


class _Steps(list):
    """A loader of which only the length counts."""


def position(steps):
    """The Position of a training with so many steps an epoch."""
    return Position(_Steps(range(steps)))
