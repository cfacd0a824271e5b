"""A run's stages around Keras's fit: freezing, moving averages, NaN, checkpoints, scores."""

import io

import fakes
import keras
import numpy as np
import pytest
from blocks import Blocks, classifier, loaders, run
from rich.console import Console

from visiontasks.data.pipeline import Loader
from visiontasks.errors import DataError, RecipeError
from visiontasks.evaluation.evaluator import evaluate
from visiontasks.heads.classifier import Classifier
from visiontasks.heads.unet import UNet
from visiontasks.keras_backend import writes_events
from visiontasks.model import VisionModel
from visiontasks.recipe.schema import FreezeRecipe, TrainRecipe
from visiontasks.registry.catalog import tasks_of
from visiontasks.training.fit import fit, set_trainable
from visiontasks.training.run_directory import RunDirectory


def test_learns_scores_and_keeps_the_best(tmp_path):
    recipe = TrainRecipe(epochs=30, optimizer={"name": "adam", "learning_rate": 3e-2})
    model = classifier()
    made, ended = run(tmp_path, model, recipe)
    assert ended["best_score"] == 1.0 and ended["epochs"] == 30 and not ended["interrupted"]
    again = keras.saving.load_model(made.best)
    evaluation = evaluate(again, loaders(("label",))[1], tasks_of(again), draw=3)
    assert evaluation.score == ended["best_score"] and evaluation.metrics["top1"] == 1.0
    assert len(evaluation.examples) == 3
    rows = made.metrics.read_text().splitlines()
    assert len(rows) == 31 and "val_top1" in rows[0] and "val_loss" in rows[0]
    assert (made.path / "curves.png").stat().st_size > 1000
    assert writes_events() == any((made.path / "tensorboard").rglob("events.*"))
    assert not list(made.path.rglob(".writing*"))


class Watch(keras.callbacks.Callback):
    """Notes the backbone's weights and statistics after each epoch."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append([w.copy() for w in self.model.backbone.get_weights()])


def same(a, b):
    return [np.array_equal(x, y) for x, y in zip(a, b, strict=True)]


def test_a_frozen_backbone_keeps_weights_and_batch_norm_statistics_then_trains(tmp_path):
    model, watch = classifier(), Watch()
    start = [w.copy() for w in model.backbone.get_weights()]
    run(tmp_path, model, TrainRecipe(epochs=4, freeze=FreezeRecipe(epochs=2)), [watch])
    assert all(same(start, watch.seen[0])) and all(same(start, watch.seen[1]))
    assert not any(same(start, watch.seen[3]))


def test_batch_norms_may_stay_fixed(tmp_path):
    model, watch = classifier(), Watch()
    names = [w.path for w in model.backbone.weights]
    start = [w.copy() for w in model.backbone.get_weights()]
    run(tmp_path, model, TrainRecipe(epochs=3, freeze=FreezeRecipe(epochs=1, batch_norm=True)), [watch])
    kept = dict(zip(names, same(start, watch.seen[2]), strict=True))
    assert kept == {path: "batch_normalization" in path for path in names}
    set_trainable(model.backbone, True)
    assert all(layer.trainable for layer in model.backbone.layers)


def test_what_leads_to_a_level_stays_fixed_and_all_behind_it_trains(tmp_path):
    """Also where no head taps that level: the classifier sees the deepest alone."""
    model, watch = classifier(), Watch()
    fixed = {
        w.path for layer in keras.Model(model.backbone.input, model.backbone.output["C2"]).layers for w in layer.weights
    }
    names = [w.path for w in model.backbone.weights]
    start = [w.copy() for w in model.backbone.get_weights()]
    run(tmp_path, model, TrainRecipe(epochs=2, freeze=FreezeRecipe(epochs=0, level="C2")), [watch])
    kept = {path for path, still in zip(names, same(start, watch.seen[1]), strict=True) if still}
    assert kept == fixed and len(names) == 15 and len(fixed) == 10
    with pytest.raises(RecipeError, match="freeze.level: expected one of C1, C2, C3; got 'C9'"):
        run(tmp_path, classifier(), TrainRecipe(epochs=1, freeze=FreezeRecipe(epochs=0, level="C9")))


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="on JAX Keras shows callbacks no weights between steps")
def test_the_moving_average_is_what_is_saved(tmp_path):
    model = classifier()
    recipe = TrainRecipe(
        epochs=3, ema=0.9, optimizer={"name": "sgd", "learning_rate": 0.1}, schedule={"name": "constant"}
    )

    class Average(keras.callbacks.Callback):
        """A slow average of the weights after each step, starting from those after the first, as Keras's does."""

        value = None

        def on_train_batch_end(self, batch, logs=None):
            now = [np.array(v) for v in self.model.trainable_variables]
            before = self.value or now
            self.value = [0.9 * a + 0.1 * b for a, b in zip(before, now, strict=True)]

    average = Average()
    made, _ = run(tmp_path, model, recipe, [average])
    saved = keras.saving.load_model(made.last).trainable_variables
    for ours, theirs in zip(average.value, saved, strict=True):
        np.testing.assert_allclose(np.array(theirs), ours, rtol=1e-4, atol=1e-6)


def test_a_nan_loss_stops_and_names_the_step_and_its_files(tmp_path):
    model = classifier()
    recipe = TrainRecipe(epochs=3, optimizer={"name": "sgd", "learning_rate": 1e38}, schedule={"name": "constant"})
    with pytest.raises(FloatingPointError, match=r"epoch \d, step \d.*learning_rate(.|\n)*block \d"):
        run(tmp_path, model, recipe)


@pytest.mark.parametrize(("steps", "epochs"), [(5, 3), (4, 2), (10_000, 3)])
def test_steps_give_the_epochs(tmp_path, monkeypatch, steps, epochs):
    """Two batches an epoch; and never more epochs than the limit."""
    monkeypatch.setattr("visiontasks.training.fit.MOST_EPOCHS", 3)
    made, ended = run(tmp_path, classifier(), TrainRecipe(epochs=1, steps=steps))
    assert ended["epochs"] == epochs
    assert len(made.metrics.read_text().splitlines()) == 1 + epochs


class WrongLater(Blocks):
    """Raises once it has been read a number of times: what Keras looks at in advance is in order."""

    def __init__(self, after):
        super().__init__(24)
        self.after = after

    def __getitem__(self, index):
        self.after -= 1
        if self.after < 0:
            raise DataError(f"mask of block {index}: class 7 of 3")
        return super().__getitem__(index)


@pytest.mark.parametrize("part", [0, 1])
def test_wrong_data_found_late_are_the_same_one_error(tmp_path, part):
    model = classifier()
    sources = [Blocks(24), Blocks(24)]
    sources[part] = WrongLater(after=44)
    common = dict(fields=("label",), size=(32, 32), batch=4, workers=0)
    loaders = Loader(sources[0], training=True, **common), Loader(sources[1], **common)
    made = RunDirectory.create(tmp_path, "test")
    with pytest.raises(DataError, match="class 7 of 3"):
        fit(model, *loaders, tasks_of(model), TrainRecipe(epochs=4), made, Console(file=io.StringIO()))


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="PyTorch traces nothing")
def test_the_step_is_traced_once(tmp_path):
    """Each tracing of a large network takes ten seconds."""
    model, calls = classifier(), []
    step = model.train_step
    model.train_step = lambda *args: (calls.append(1), step(*args))[1]
    run(tmp_path, model, TrainRecipe(epochs=2))
    assert len(calls) == 1


def test_early_stopping_counts_epochs_without_a_better_score(tmp_path):
    recipe = TrainRecipe(epochs=20, early_stopping=2, optimizer={"name": "sgd", "learning_rate": 1e-12})
    _, ended = run(tmp_path, classifier(), recipe)
    assert ended["epochs"] <= 4


def test_several_heads_are_scored_each_by_its_own_and_together(tmp_path):
    keras.utils.set_random_seed(0)
    heads = {"regions": UNet(fakes.CLASSES), "subject": Classifier(fakes.CLASSES)}
    model = VisionModel(fakes.backbone(), heads)
    made, _ = run(tmp_path, model, TrainRecipe(epochs=1), count=6)
    header = made.metrics.read_text().splitlines()[0].split(",")
    assert {
        "val_regions/mean_iou",
        "val_subject/top1",
        "val_score",
        "regions/cross_entropy_loss",
        "learning_rate",
    } <= set(header)
    evaluation = evaluate(model, loaders(("mask", "label"), 6)[1], tasks_of(model))
    assert evaluation.score == pytest.approx(
        (evaluation.metrics["regions/mean_iou"] + evaluation.metrics["subject/top1"]) / 2
    )


def test_the_last_partial_batch_counts_each_image_once():
    model = classifier()
    _, val = loaders(("label",), count=6)
    model.compile("adam")
    evaluation = evaluate(model, val, tasks_of(model))
    scores = model.predict(fakes.images(6)["image"], verbose=0)["scores"]
    assert evaluation.metrics["top1"] == pytest.approx((scores.argmax(-1) == fakes.images(6)["label"]).mean())
    loss = model.evaluate(val, verbose=0, return_dict=True)
    assert np.isfinite(loss["loss"])
