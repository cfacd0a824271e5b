"""VisionModel: an ordinary Keras model, with one head or several."""

import fakes
import keras
import numpy as np
import pytest

from visiontasks.heads.classifier import Classifier
from visiontasks.heads.retinanet import RetinaNet
from visiontasks.heads.tagger import Tagger
from visiontasks.heads.unet import UNet
from visiontasks.model import VisionModel


def joint(**arguments):
    keras.utils.set_random_seed(0)
    heads = {"regions": UNet(fakes.CLASSES), "subject": Classifier(fakes.CLASSES), "tags": Tagger(fakes.CLASSES)}
    return VisionModel(fakes.backbone(), heads, **arguments)


def test_fit_takes_arrays_pairs_and_tf_data_alike():
    batch = fakes.pictures(4)
    losses = []
    for form in ("dict", "pair", "bare", "dataset"):
        keras.utils.set_random_seed(0)
        model = VisionModel(fakes.backbone(), Classifier(fakes.CLASSES))
        model.compile(keras.optimizers.SGD(0.1))
        if form == "dict":
            given = {"x": batch}
        elif form == "pair":
            given = {"x": batch["image"], "y": {"label": batch["label"]}}
        elif form == "bare":
            given = {"x": batch["image"], "y": batch["label"]}
        else:
            tf = pytest.importorskip("tensorflow")
            given = {"x": tf.data.Dataset.from_tensor_slices(batch).batch(4)}
        history = model.fit(
            **given, epochs=2, shuffle=False, verbose=0, **({} if form == "dataset" else {"batch_size": 4})
        )
        losses.append(history.history["loss"])
    np.testing.assert_allclose(losses[1:], losses[:1] * 3, rtol=1e-5)


@pytest.mark.parametrize("how", ["fit", "evaluate"])
def test_the_loss_is_the_weighted_sum_of_the_terms_shown_with_unlabelled_rows_too(how):
    model, batch = joint(loss_weights={"tags": 0.25}), fakes.pictures(8)
    batch["label"][3:], batch["tags"][1:5], batch["mask"][2:7, 4:] = -1, -1, 255
    model.compile(keras.optimizers.SGD(0.1))
    if how == "fit":
        shown = {name: value[0] for name, value in model.fit(batch, batch_size=2, verbose=0).history.items()}
    else:
        shown = model.evaluate(batch, batch_size=2, verbose=0, return_dict=True)
    parts = shown["regions/cross_entropy_loss"] + shown["subject/cross_entropy_loss"]
    np.testing.assert_allclose(shown["loss"], parts + 0.25 * shown["tags/binary_cross_entropy_loss"], rtol=1e-6)


def test_regularizers_are_in_the_loss():
    inputs = keras.Input((None, None, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(4, 3, strides=2, kernel_regularizer=keras.regularizers.L2(1.0), kernel_initializer="ones")(
        x
    )
    model = VisionModel(keras.Model(inputs, {"C1": x}), Classifier(fakes.CLASSES))
    model.compile("adam")
    shown = model.evaluate(fakes.pictures(4), batch_size=4, verbose=0, return_dict=True)
    np.testing.assert_allclose(shown["loss"] - shown["cross_entropy_loss"], 4 * 3 * 9, rtol=1e-5)
    assert shown.keys() == {"loss", "cross_entropy_loss"}


def test_an_unlabelled_head_learns_nothing():
    model, batch = joint(), fakes.pictures(4)
    batch["tags"] = fakes.unlabelled(batch)["tags"]
    model.compile(keras.optimizers.SGD(0.1))
    before = [w.copy() for w in model.heads["tags"].get_weights()]
    other = [w.copy() for w in model.heads["subject"].get_weights()]
    model.fit(batch, batch_size=4, verbose=0)
    for old, new in zip(before, model.heads["tags"].get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert any((o != n).any() for o, n in zip(other, model.heads["subject"].get_weights(), strict=True))


def test_compiled_metrics_meet_their_head():
    model, batch = joint(), fakes.pictures(6)
    model.compile("adam", metrics={"subject": ["accuracy"], "regions": None, "tags": None})
    shown = model.evaluate(batch, batch_size=6, verbose=0, return_dict=True)
    scores = model.predict(batch["image"], verbose=0)["subject"]["scores"]
    np.testing.assert_allclose(shown["subject_accuracy"], (scores.argmax(-1) == batch["label"]).mean(), rtol=1e-6)


@pytest.mark.parametrize("kind", ["metrics", "weighted_metrics"])
def test_compiled_metrics_see_decoded_answers_and_leave_out_what_is_not_labelled(kind):
    """As `weighted_metrics` or as plain `metrics`, which Keras itself would not weight."""
    model, batch = joint(), fakes.pictures(6)
    batch["tags"][:2], batch["mask"][:, :5], batch["label"][3] = -1, 255, -1
    names = {"subject": ["sparse_categorical_accuracy"], "regions": ["sparse_categorical_accuracy"]}
    with pytest.raises(ValueError, match="got both"):
        model.compile("adam", metrics=names, weighted_metrics=names)
    model.compile("adam", **{kind: {**names, "tags": [keras.metrics.BinaryAccuracy()]}})
    shown = model.evaluate(batch, batch_size=6, verbose=0, return_dict=True)
    answers = model.predict(batch["image"], verbose=0)
    known = batch["label"] >= 0
    right = answers["subject"]["scores"].argmax(-1) == batch["label"]
    np.testing.assert_allclose(shown["subject_sparse_categorical_accuracy"], right[known].mean(), rtol=1e-5)
    right = answers["regions"]["probabilities"].argmax(-1) == batch["mask"]
    np.testing.assert_allclose(
        shown["regions_sparse_categorical_accuracy"], right[batch["mask"] != 255].mean(), rtol=1e-5
    )
    right = (answers["tags"]["scores"] > 0.5) == batch["tags"]
    np.testing.assert_allclose(shown["tags_binary_accuracy"], right[2:].mean(), rtol=1e-5)


def test_a_head_s_loss_is_the_mean_over_the_pictures_labelled_for_it():
    """Neither a batch without its labels nor the black pictures that fill the last batch up pull it down."""
    model, batch = joint(), fakes.pictures(8)
    batch["label"][3:] = -1
    batch["tags"][4:] = -1
    model.compile("adam")
    shown = model.evaluate(batch, batch_size=2, verbose=0, return_dict=True)
    first = {key: value[:3] for key, value in batch.items()}
    alone = model.evaluate(first, batch_size=3, verbose=0, return_dict=True)
    np.testing.assert_allclose(shown["subject/cross_entropy_loss"], alone["subject/cross_entropy_loss"], rtol=1e-5)
    first = {key: value[:4] for key, value in batch.items()}
    alone = model.evaluate(first, batch_size=4, verbose=0, return_dict=True)
    term = "tags/binary_cross_entropy_loss"
    np.testing.assert_allclose(shown[term], alone[term], rtol=1e-5)


def test_saves_several_heads_and_loads_them_bit_for_bit(tmp_path):
    model, batch = joint(loss_weights={"tags": 0.5}), fakes.pictures(4)
    model.compile("adam")
    model.fit(batch, batch_size=2, verbose=0)
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    assert again.loss_weights == {"tags": 0.5} and list(again.heads) == list(model.heads)
    before, after = model.predict(batch["image"], verbose=0), again.predict(batch["image"], verbose=0)
    for head in before:
        for key in before[head]:
            np.testing.assert_array_equal(before[head][key], after[head][key])
    again.fit(batch, batch_size=2, verbose=0)  # compiled as it was


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_fresh_process_loads_after_importing_visiontasks(tmp_path, schedule):
    import subprocess
    import sys

    from visiontasks.training import schedules

    model = joint()
    model.compile(keras.optimizers.AdamW(getattr(schedules, schedule)(0.1, total_steps=9, steps_per_epoch=3)))
    model.save(tmp_path / "m.keras")
    code = "import keras, visiontasks; print(len(keras.saving.load_model('m.keras').heads))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == "3", done.stderr[-2000:]


def test_layers_that_no_head_needs_are_left_out():
    backbone = fakes.backbone(levels=(1, 2, 3))
    model = VisionModel(backbone, Classifier(fakes.CLASSES, tap="C2"))
    assert set(model.backbone.output) == {"C1", "C2"}  # what lies on the way stays, and can be named
    assert model.backbone.count_params() < backbone.count_params()


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda m, b: m.predict(b["image"].astype("float32") / 255, verbose=0), "expected uint8"),
        (lambda m, b: m.fit(b["image"], verbose=0), "expected targets beside the pictures"),
        (lambda m, b: m.fit(b["image"], b["label"], verbose=0), "dict of targets"),
        (lambda m, b: m.fit({"image": b["image"], "label": b["label"]}, verbose=0), r"\['mask', 'tags'\] are missing"),
        (
            lambda m, b: m.fit(b["image"], b, sample_weight=np.ones(4), verbose=0),
            "class_weight: not supported",
        ),
        (lambda m, b: m.compile("adam", loss="mse"), "losses come from the heads"),
        (lambda m, b: joint(loss_weights={"tag": 1.0}), "name no head"),
    ],
)
def test_wrong_use_is_an_error_that_says_the_fix(wrong, text):
    model, batch = joint(), fakes.pictures(4)
    model.compile("adam")
    with pytest.raises(ValueError, match=text):
        wrong(model, batch)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda m, b: m.compile("adam", metrics=["accuracy"]), r"metrics: .* visiontasks.score\(model, loader\)"),
        (lambda m, b: m.fit({**b, "boxes": b["boxes"] / 64}, verbose=0), "boxes: expected .* in pixels"),
        (lambda m, b: m.fit(b["image"], {**b, "classes": b["classes"] + 9}, verbose=0), "below 6, .*'retinanet'; got"),
        (lambda m, b: m(b["image"][:, :60]), r"multiples of 8, .* got \(60, 64\)"),
    ],
)
def test_wrong_use_of_a_detector_is_an_error_that_says_the_fix(wrong, text):
    batch, classes = fakes.scenes(2, (64, 64))
    model = VisionModel(fakes.backbone(), RetinaNet(classes["classes"], levels=["C2", "C3"], filters=8, convs=1))
    model.compile("adam")
    with pytest.raises(ValueError, match=text):
        wrong(model, batch)


def test_summary_names_the_parts(capsys):
    joint().summary()
    shown = capsys.readouterr().out
    assert "unet (UNet)" in shown and "tagger (Tagger)" in shown
