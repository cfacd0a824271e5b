"""What every head must do; a new file in `heads/` is tested here without a new test."""

import fakes
import keras
import numpy as np
import passes
import pytest
from families import NARROW
from keras import ops

from visiontasks.arguments import choices
from visiontasks.heads import rcnn_branches
from visiontasks.model import VisionModel
from visiontasks.registry import catalog
from visiontasks.registry.catalog import tasks_of
from visiontasks.training import fused_optimizers

HEADS = sorted(catalog.parts("heads"))
LARGEST = sorted(fakes.largest_heads())


OP_BY_OP = keras.backend.backend() == "tensorflow"  # a few steps: to trace them takes longer
SMALL = {"yolo_v1": {"tap": None, "filters": [8, 4], "hidden": [16]}}  # at the deepest level, a few cells
SMALL |= {"fcn": {"levels": ["C1", "C2", "C3"], "hidden": [8]}, "deconvnet": {"levels": None, "convs": None}}


@pytest.fixture(autouse=True, scope="module")
def graphs_as_they_are_traced():
    """Without TensorFlow's rewriting (grappler): of a graph that runs once it takes longer than all that it saves.

    The trainings of test_contracts_training.py and the commands' run what a user runs.
    """
    if not OP_BY_OP:
        yield
        return
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


def backbone(name):
    """For images of any size, or of theirs alone where the head asks for that."""
    return fakes.backbone((None, None) if catalog.find("heads", name).load().any_size else (32, 32))


def made(name, size=None, **given):
    keras.utils.set_random_seed(0)
    # narrow where the default has hundreds of channels, which show nothing more
    arguments = {**NARROW.get(name, {}), **fakes.posed(name), **SMALL.get(name, {}), **given}
    network = fakes.backbone(size) if size else backbone(name)
    return VisionModel(network, catalog.find("heads", name).load()(fakes.CLASSES, **arguments))


def one_graph(name):
    """So few boxes that an R-CNN's branches have one graph, not one for each of several numbers of boxes."""
    named = {argument.name for argument in catalog.find("heads", name).arguments}
    return dict.fromkeys({"samples", "detections"}, rcnn_branches.FEWEST) if "samples" in named else {}


def learn(model, batch):
    """A few steps; or one pass, for a head without gradients."""
    if model.by_gradients:
        model.compile(fused_optimizers.Adam(), run_eagerly=OP_BY_OP)
        model.fit(batch, batch_size=2, verbose=0)
    else:
        model.adapt({**batch, "label": np.zeros_like(batch["label"])}, batch_size=2)


def outputs_of(model, batch):
    if OP_BY_OP:
        return model(batch["image"], training=False)
    return passes.jitted(lambda images: model(images, training=False))(batch["image"])


def predicted(model, images):
    """What `predict` gives, here op by op.

    `predict` itself is compared with that by test_predict_and_evaluate_take_one_size_after_another and
    test_predictions_compiled_by_xla_are_those_without.
    """
    if not OP_BY_OP:
        return model.predict(images, verbose=0)
    return keras.tree.map_structure(ops.convert_to_numpy, model.decode(outputs_of(model, {"image": images})))


@pytest.mark.parametrize("name", HEADS)
def test_config_holds_every_constructor_argument(name):
    part = catalog.find("heads", name)
    head = part.load()(fakes.CLASSES)
    config = head.get_config()
    assert {a.name for a in part.arguments} <= config.keys()
    assert config["name"] == head.name == name
    again = type(head).from_config(config)
    assert again.get_config() == config


@pytest.mark.other_values  # test_contracts_precision.py computes every loss on JAX
@pytest.mark.parametrize("name", LARGEST)
def test_losses_are_the_terms_named_in_float32_and_finite(name):
    model, batch = made(name), fakes.images()
    (head,) = model.heads.values()
    losses = head.compute_losses(batch, outputs_of(model, batch))
    assert tuple(losses) == tuple(head.loss_terms) and bool(losses) == head.by_gradients
    for value in (value for term in losses.values() for value in term):
        assert keras.backend.standardize_dtype(value.dtype) == "float32"
        assert value.shape == () and np.isfinite(ops.convert_to_numpy(value)) and float(value) > 0


@pytest.mark.parametrize("name", LARGEST)
def test_what_is_not_labeled_adds_no_loss(name):
    model, batch = made(name), fakes.images(4)
    (head,) = model.heads.values()
    outputs = outputs_of(model, batch)

    def losses(batch, outputs):
        return head.compute_losses(batch, outputs, training=False)

    # JAX would compile each operation alone
    losses = losses if OP_BY_OP else passes.jitted(losses)
    nothing = losses(fakes.unlabeled(batch), outputs)
    assert all(float(value) == 0 for term in nothing.values() for value in term)
    # half of the images labeled: as if the other half were not there
    half = {key: np.concatenate([batch[key][:2], fakes.unlabeled(batch)[key][2:]]) for key in batch}
    first = {key: value[:2] for key, value in batch.items()}
    some, alone = losses(half, outputs), losses(first, keras.tree.map_structure(lambda x: x[:2], outputs))
    for term in some:
        np.testing.assert_allclose(*([*map(ops.convert_to_numpy, found[term])] for found in (some, alone)), rtol=1e-5)


@pytest.mark.parametrize("name", LARGEST)
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_decodes_to_float32_or_int32_with_the_batch_first(name, policy):
    keras.config.set_dtype_policy(policy)
    model, batch = made(name), fakes.images()
    predictions = model.decode(outputs_of(model, batch))
    assert predictions
    for value in predictions.values():
        assert value.shape[0] == len(batch["image"])
        assert keras.backend.standardize_dtype(value.dtype) in ("float32", "int32", "bool")
        assert np.isfinite(ops.convert_to_numpy(value).astype("float32")).all()


@pytest.mark.parametrize("name", LARGEST)
def test_saves_loads_and_clones(name, tmp_path):
    model, batch = made(name), fakes.images()
    learn(model, batch)
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    before, after = predicted(model, batch["image"]), predicted(again, batch["image"])
    for key in before:
        np.testing.assert_array_equal(before[key], after[key])
    assert not model.by_gradients or again.optimizer.iterations == model.optimizer.iterations
    clone = keras.models.clone_model(model)
    assert [w.shape for w in clone.weights] == [w.shape for w in model.weights]
    config, cloned = model.get_config(), clone.get_config()
    assert cloned["head"]["config"] == config["head"]["config"]


@pytest.mark.parametrize("name", [name for name in LARGEST if catalog.find("heads", name).load().any_size])
def test_predict_and_evaluate_take_one_size_after_another(name):
    model = made(name, **one_graph(name))
    model.compile("sgd")
    # of a last batch with fewer images TensorFlow traces another graph: tests/test_model.py
    for size in ((32, 32), (64, 32), (32, 32)):
        batch = fakes.images(2, size)
        predictions = model.predict(batch["image"], batch_size=2, verbose=0)
        expected = model.decode(outputs_of(model, batch))
        for key, value in expected.items():
            np.testing.assert_allclose(predictions[key], ops.convert_to_numpy(value), rtol=1e-3, atol=1e-3, err_msg=key)
        assert np.isfinite(model.evaluate(batch, batch_size=2, verbose=0)).all()


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a SavedModel is TensorFlow's")
@pytest.mark.parametrize("name", LARGEST)
def test_an_exported_model_gives_what_the_model_gives(name, tmp_path):
    import tensorflow as tf

    model, images = made(name, (32, 32), **every_score(name)), fakes.images(5)["image"]
    model.export(tmp_path / "saved")
    program = tf.saved_model.load(tmp_path / "saved")
    for count in (5, 1):  # any number of images
        expected, exported = predicted(model, images[:count]), program.serve(images[:count])
        assert expected.keys() == exported.keys()
        for key, value in expected.items():
            assert value.dtype == exported[key].numpy().dtype
            assert value.dtype != np.float32 or value.size == 1 or np.ptp(value) > 0, key  # not padding alone
            np.testing.assert_allclose(exported[key], value, rtol=1e-5, atol=1e-5, err_msg=key)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="with TensorFlow XLA is a choice; JAX always compiles"
)
@pytest.mark.parametrize("name", LARGEST)
def test_predictions_compiled_by_xla_are_those_without(name):
    """The passes of test_contracts_precision.py compile the losses, and this compiles the choice of boxes."""
    model, images = made(name, (32, 32), **every_score(name)), fakes.images(4)["image"]
    model.compile("sgd", jit_compile=True)
    compiled = model.predict(images, verbose=0)
    plain = predicted(model, images)
    if "boxes" not in plain:
        for key, value in plain.items():
            # a place between cells is a quotient of differences of logarithms
            rtol = 1e-4 if key == "peaks" else 1e-7
            np.testing.assert_allclose(compiled[key], value, rtol=rtol, atol=1e-4, err_msg=key)
        return
    same = []
    for row, scores in enumerate(compiled["scores"]):
        for place in np.flatnonzero(compiled["valid"][row]):
            near = plain["valid"][row] & (np.abs(plain["scores"][row] - scores[place]) < 1e-5)
            near &= plain["classes"][row] == compiled["classes"][row][place]
            away = np.zeros(near.sum())
            for key in {"boxes", "masks", "keypoint_maps", "keypoints"} & plain.keys():
                differences = np.abs(plain[key][row][near] - compiled[key][row][place])
                away = np.maximum(away, differences.reshape(len(away), -1).max(axis=1))
            same.append(away.min(initial=np.inf) < 1e-4)
    # untrained scores are close: of two whose order is a matter of rounding, the other may have been suppressed
    # one that looks at one object an image has no more
    assert len(same) > (3 if catalog.find("heads", name).alone else 20) and np.mean(same) > 0.95
    assert abs(len(same) - plain["valid"].sum()) < 0.05 * len(same)


def every_score(name):
    """The argument that keeps every detection: untrained scores are low."""
    named = {argument.name for argument in catalog.find("heads", name).arguments}
    return dict.fromkeys({"score_threshold", "limb_threshold"} & named, 0.0)


@pytest.mark.parametrize("name", HEADS)
def test_its_task_takes_its_predictions(name):
    from visiontasks.data.batch import row_of
    from visiontasks.geometry import Placement

    model, batch = made(name), fakes.images(1)
    (task,) = tasks_of(model).values()
    predictions = predicted(model, batch["image"])
    one = {key: value[0] for key, value in predictions.items()}
    sample = row_of(batch, 0)
    restored = task.restore(one, Placement(sample.original_size, batch["image"].shape[1:3]))
    metric = task.metric()
    metric.update(sample, restored)
    assert task.main_metric in metric.result()
    assert task.draw_truth(sample.image, sample).dtype == np.uint8
    assert task.draw_prediction(sample.image, restored).dtype == np.uint8


@pytest.mark.parametrize("name", HEADS)
def test_a_missing_level_is_an_error_that_says_what_there_is(name):
    part = catalog.find("heads", name)
    argument = next(one for one in ("tap", "level", "levels") if one in {a.name for a in part.arguments})
    value = ["C1", "C9"] if argument == "levels" else "C9"
    with pytest.raises(ValueError, match=r"C9.*it has \['C1', 'C2', 'C3'\]"):
        VisionModel(fakes.backbone(), part.load()(fakes.CLASSES, **{argument: value}))


def another(argument):
    """A value that is not the default, of the kind that the signature states."""
    listed = [choice for choice in choices(argument.annotation) if choice != argument.default]
    if listed:
        return listed[0]
    if isinstance(argument.default, bool):
        return not argument.default
    if isinstance(argument.default, int):
        return argument.default // 2 or 2
    if isinstance(argument.default, float):
        return argument.default / 2 if argument.default else 0.25
    others = {"tap": "C2", "levels": ["C1", "C3"], "filters": [8, 4], "hidden": [6], "name": "other"}
    # of an SSD: two levels and one more
    others |= {
        "extra": ["half"],
        "extra_filters": [8],
        "aspect_ratios": [[3], [2], []],
        "scales": [0.2, 0.4, 0.7, 1.0],
        "steps": [2, 8, 16],
    }
    # of segmentation, on C1 and C3
    others |= {"convs": [2], "bottleneck": 5}
    # of anchors on a pyramid, and of an embedder
    others |= {"ratios": [1.0, 3.0], "margin": 0.3}
    # of an R-CNN's branches
    others |= {"mask": {"filters": 8, "layers": 1, "bins": 4, "batch_norm": True, "agnostic": True}}
    others |= {"keypoints": {"filters": 8, "layers": 1, "bins": 4, "bin_samples": 1}, "level": "C2"}
    others |= {"skeleton": fakes.SKELETON.get_config(), "simcc": {"split": 1.0, "sigma": 3.0}}
    return others[argument.name]


@pytest.mark.parametrize("name", HEADS)
def test_every_argument_survives_saving_and_trains(name, tmp_path):
    """Each argument set to something else than its default, at once."""
    part = catalog.find("heads", name)
    given = {a.name: another(a) for a in part.arguments if a.name not in ("classes", "learns")}
    network = fakes.backbone((32, 32)) if {"simcc", "bottleneck"} & given.keys() else backbone(name)
    model, batch = VisionModel(network, part.load()(fakes.CLASSES, **given)), fakes.images()
    learn(model, batch)
    model.save(tmp_path / "m.keras")
    (again,) = keras.saving.load_model(tmp_path / "m.keras").heads.values()
    config = again.get_config()
    for argument, value in given.items():
        held = config[argument]
        assert held == value or held == {value: 1.0}, argument
    np.testing.assert_array_equal(again.get_weights()[0], next(iter(model.heads.values())).get_weights()[0])


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("classes", [0, [], ["a", "a"], "dog", True])
def test_no_class_or_one_twice_is_an_error(name, classes):
    with pytest.raises(ValueError, match="classes: expected"):
        catalog.find("heads", name).load()(classes)
