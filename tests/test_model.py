"""VisionModel: an ordinary Keras model, with one head or several."""

import fakes
import keras
import numpy as np
import pytest

from visiontasks.heads.classifier import Classifier
from visiontasks.heads.rcnn import RCNN
from visiontasks.heads.retinanet import RetinaNet
from visiontasks.heads.tagger import Tagger
from visiontasks.heads.unet import UNet
from visiontasks.model import VisionModel


def joint(**arguments):
    keras.utils.set_random_seed(0)
    heads = {"regions": UNet(fakes.CLASSES), "subject": Classifier(fakes.CLASSES), "tags": Tagger(fakes.CLASSES)}
    return VisionModel(fakes.backbone(), heads, **arguments)


def test_fit_takes_arrays_pairs_and_tf_data_alike():
    batch = fakes.images(4)
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
def test_the_loss_is_the_weighted_sum_of_the_terms_shown_with_unlabeled_rows_too(how):
    model, batch = joint(loss_weights={"tags": 0.25}), fakes.images(8)
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
    shown = model.evaluate(fakes.images(4), batch_size=4, verbose=0, return_dict=True)
    np.testing.assert_allclose(shown["loss"] - shown["cross_entropy_loss"], 4 * 3 * 9, rtol=1e-5)
    assert shown.keys() == {"loss", "cross_entropy_loss"}


def test_an_unlabeled_head_learns_nothing():
    model, batch = joint(), fakes.images(4)
    batch["tags"] = fakes.unlabeled(batch)["tags"]
    model.compile(keras.optimizers.SGD(0.1))
    before = [w.copy() for w in model.heads["tags"].get_weights()]
    other = [w.copy() for w in model.heads["subject"].get_weights()]
    model.fit(batch, batch_size=4, verbose=0)
    for old, new in zip(before, model.heads["tags"].get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert any((o != n).any() for o, n in zip(other, model.heads["subject"].get_weights(), strict=True))


def test_compiled_metrics_meet_their_head():
    model, batch = joint(), fakes.images(6)
    model.compile("adam", metrics={"subject": ["accuracy"], "regions": None, "tags": None})
    shown = model.evaluate(batch, batch_size=6, verbose=0, return_dict=True)
    scores = model.predict(batch["image"], verbose=0)["subject"]["scores"]
    np.testing.assert_allclose(shown["subject_accuracy"], (scores.argmax(-1) == batch["label"]).mean(), rtol=1e-6)


@pytest.mark.parametrize("kind", ["metrics", "weighted_metrics"])
def test_compiled_metrics_see_predictions_and_leave_out_what_is_not_labeled(kind):
    """As `weighted_metrics` or as plain `metrics`, which Keras itself would not weight."""
    model, batch = joint(), fakes.images(6)
    batch["tags"][:2], batch["mask"][:, :5], batch["label"][3] = -1, 255, -1
    names = {"subject": ["sparse_categorical_accuracy"], "regions": ["sparse_categorical_accuracy"]}
    with pytest.raises(ValueError, match="got both"):
        model.compile("adam", metrics=names, weighted_metrics=names)
    model.compile("adam", **{kind: {**names, "tags": [keras.metrics.BinaryAccuracy()]}})
    shown = model.evaluate(batch, batch_size=6, verbose=0, return_dict=True)
    predictions = model.predict(batch["image"], verbose=0)
    known = batch["label"] >= 0
    right = predictions["subject"]["scores"].argmax(-1) == batch["label"]
    np.testing.assert_allclose(shown["subject_sparse_categorical_accuracy"], right[known].mean(), rtol=1e-5)
    right = predictions["regions"]["probabilities"].argmax(-1) == batch["mask"]
    np.testing.assert_allclose(
        shown["regions_sparse_categorical_accuracy"], right[batch["mask"] != 255].mean(), rtol=1e-5
    )
    right = (predictions["tags"]["scores"] > 0.5) == batch["tags"]
    np.testing.assert_allclose(shown["tags_binary_accuracy"], right[2:].mean(), rtol=1e-5)


def test_a_head_s_loss_is_the_mean_over_the_images_labeled_for_it():
    """Neither a batch without its labels nor the black images that pad the last batch lower it."""
    model, batch = joint(), fakes.images(8)
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
    model, batch = joint(loss_weights={"tags": 0.5}), fakes.images(4)
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
    import forked

    from visiontasks.training import schedules

    model = joint()
    model.compile(keras.optimizers.AdamW(getattr(schedules, schedule)(0.1, total_steps=9, steps_per_epoch=3)))
    model.save(tmp_path / "m.keras")
    code = "import keras, visiontasks; print(len(keras.saving.load_model('m.keras').heads))"
    done = forked.python("-c", code, cwd=tmp_path)  # which has imported Keras, and nothing of visiontasks
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
        (lambda m, b: m.fit(b["image"], verbose=0), "expected targets with the images"),
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
    model, batch = joint(), fakes.images(4)
    model.compile("adam")
    with pytest.raises(ValueError, match=text):
        wrong(model, batch)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda m, b: m.compile("adam", metrics=["accuracy"]), r"metrics: .* visiontasks.score\(model, loader\)"),
        (lambda m, b: m(b["image"][:, :60]), r"multiples of 8, .* got \(60, 64\)"),
    ],
)
def test_wrong_use_of_a_detector_is_an_error_that_says_the_fix(wrong, text):
    batch, classes = fakes.scenes(2, (64, 64))
    model = VisionModel(fakes.backbone(), RetinaNet(classes["classes"], levels=["C2", "C3"], filters=8, convs=1))
    model.compile("adam")
    with pytest.raises(ValueError, match=text):
        wrong(model, batch)


def test_a_unet_takes_images_that_no_stride_divides(tmp_path):
    """Each step up is fitted to its skip, so that 60×62 trains and predicts; a saved model does the same."""
    keras.utils.set_random_seed(0)
    batch = fakes.images(4, (60, 62))
    model = VisionModel(fakes.backbone(levels=(1, 2, 3, 4, 5)), UNet(fakes.CLASSES, filters=[16, 16, 8, 8, 8]))
    assert model.stride == 1
    model.compile(keras.optimizers.Adam(3e-3))
    losses = model.fit(batch, batch_size=4, epochs=15, verbose=0).history["loss"]
    assert losses[-1] < 0.7 * losses[0]
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    before, after = (m.predict(batch["image"], verbose=0)["probabilities"] for m in (model, again))
    assert before.shape == (4, 60, 62, 3)
    np.testing.assert_array_equal(before, after)


def with_chance():
    """A network whose training draws random numbers at three depths: in the backbone, in a head, in R-CNN's samples."""
    inputs = keras.Input((32, 32, 3), dtype="uint8")
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same")(keras.layers.Rescaling(1 / 255)(inputs))
    branches = [keras.layers.Dropout(rate)(x) for rate in (0.3, 0.6)]
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same")(keras.layers.Add()(branches))
    few = {"filters": 8, "units": 8, "samples": 8, "anchor_samples": 8, "proposals": 20, "training_proposals": 20}
    few |= {"proposal_candidates": 20, "training_candidates": 20}
    heads = {"boxes": RCNN(fakes.CLASSES, **few), "label": Classifier(fakes.CLASSES, hidden=[8], dropout=0.5)}
    model = VisionModel(keras.Model(inputs, {"C1": branches[0], "C2": x}), heads)
    # op by op where that is possible: four models are trained for a few steps each
    model.compile(keras.optimizers.SGD(0.01), run_eagerly=keras.backend.backend() == "tensorflow")
    return model


def test_training_goes_on_after_a_load_as_it_would_have(tmp_path):
    """Random numbers too: each seed generator's state is saved with the weights and comes back bit for bit."""
    keras.utils.set_random_seed(0)
    model, batch = with_chance(), fakes.images(4)
    model.fit(batch, batch_size=4, epochs=2, shuffle=False, verbose=0)
    model.save(tmp_path / "m.keras")
    keras.utils.set_random_seed(1)  # another process
    again = keras.saving.load_model(tmp_path / "m.keras")
    states = [[keras.ops.convert_to_numpy(v).tolist() for v in m._seed_states()] for m in (model, again)]
    assert states[0] == states[1] and len(states[0]) == 4 and len({tuple(state) for state in states[0]}) == 4

    def next_step(m):
        logs = m.fit(batch, batch_size=4, shuffle=False, verbose=0).history
        return {name: values[0] for name, values in logs.items()}, m.get_weights()

    logs, weights = next_step(model)
    loaded_logs, loaded_weights = next_step(again)
    np.testing.assert_allclose([*loaded_logs.values()], [*logs.values()], rtol=1e-6)
    for old, new in zip(weights, loaded_weights, strict=True):
        np.testing.assert_allclose(old, new, rtol=1e-5, atol=1e-7)
    # what else the seeds would have given
    other = keras.saving.load_model(tmp_path / "m.keras")
    for state in other._seed_states():
        state.assign(keras.ops.add(state, 1))
    assert abs(next_step(other)[0]["label/cross_entropy_loss"] / logs["label/cross_entropy_loss"] - 1) > 1e-3


def test_a_file_without_seeds_loads(tmp_path, monkeypatch):
    """As they were before the seeds were saved."""
    model = with_chance()
    with monkeypatch.context() as before:
        before.setattr(VisionModel, "save_own_variables", keras.Model.save_own_variables)
        model.save(tmp_path / "old.keras")
    again = keras.saving.load_model(tmp_path / "old.keras")
    for old, new in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def exported(case):
    """(model, predictions of a head's own keys)."""
    keras.utils.set_random_seed(0)
    if case == "segmentation":
        signature = [keras.InputSpec(shape=(None, 30, 34, 3), dtype="uint8")]
        return VisionModel(fakes.backbone(), UNet(fakes.CLASSES)), {"input_signature": signature}
    heads = {"subject": Classifier(fakes.CLASSES), "tags": Tagger(fakes.CLASSES)}
    return VisionModel(fakes.backbone(), heads), {}


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a SavedModel is TensorFlow's")
@pytest.mark.parametrize("case", ["segmentation", "two heads"])
def test_an_export_takes_a_signature_and_several_heads(case, tmp_path):
    """For every head alone: tests/contracts."""
    tf = pytest.importorskip("tensorflow")
    model, arguments = exported(case)
    size = (30, 34) if case == "segmentation" else (32, 32)
    images = fakes.images(5, size)["image"]
    model.export(tmp_path / "saved", **arguments)
    program = tf.saved_model.load(tmp_path / "saved")
    for count in (5, 1):  # any number of images
        wanted, given = model.predict(images[:count], verbose=0), program.serve(images[:count])
        if case == "two heads":
            wanted = {f"{name}/{key}": value for name, part in wanted.items() for key, value in part.items()}
        assert wanted.keys() == given.keys()
        for key, value in wanted.items():
            assert value.dtype == given[key].numpy().dtype
            np.testing.assert_allclose(given[key], value, rtol=1e-6, atol=1e-6, err_msg=key)
    assert np.ptp(next(iter(wanted.values()))) > 0


@pytest.mark.parametrize("arguments", [{"format": "onnx"}, {}])
def test_an_export_that_cannot_be_is_an_error(arguments, tmp_path):
    text = "format: expected" if arguments else "fixed height and width|backend TensorFlow"
    with pytest.raises(ValueError, match=text):
        joint().export(tmp_path / "saved", **arguments)
    assert not (tmp_path / "saved").exists()


def test_summary_names_the_parts(capsys):
    joint().summary()
    shown = capsys.readouterr().out
    assert "unet (UNet)" in shown and "tagger (Tagger)" in shown
