"""A new run starts from trained weights: what is taken, what is re-initialized, and what is refused."""

import re
import shutil
import warnings

import checkpoints
import keras
import numpy as np
import pytest
from blocks import Blocks

import visiontasks as vt
from visiontasks import build, runs, train
from visiontasks.data.pipeline import Loader
from visiontasks.errors import UserError
from visiontasks.initializing import Initial, digest
from visiontasks.recipe.differences import differences
from visiontasks.training.run_directory import RunDirectory

WORDS = ["backbone.name=unet_encoder", "backbone.weights=null", "backbone.filters=4", "backbone.depth=3"]
WORDS += ["data.size=[32,32]", "train.ema=0.9"]
SEGMENTS = "head={name: unet, filters: [8, 4], classes: [sky, wet land]}"


def recipe(*words):
    return build.recipe("unet_seg", [*WORDS, SEGMENTS, *words])[0]


def made(one, seed):
    keras.utils.set_random_seed(seed)
    model = build.model(one)
    for variable in model.weights:  # statistics and biases too
        variable.assign(variable + np.random.default_rng(seed).normal(size=variable.shape))
    return model


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(the folder of a run, its model)."""
    root = tmp_path_factory.mktemp("runs")
    one = recipe()
    run = RunDirectory.create(root, "unet_seg")
    run.recipe.write_text(one.to_yaml(), encoding="utf-8")
    model = made(one, 1)
    model.save(run.best)
    shutil.copy(run.best, run.last)
    return run, model


def started(trained, *words):
    """(model, recipe, lines) of a run that starts from the trained one, and the model as it would begin without."""
    one = recipe(*words)
    initial = Initial.of(trained[0].path)
    initial.check(one)
    keras.utils.set_random_seed(2)
    plain = build.model(one)
    keras.utils.set_random_seed(2)
    model, kept, path, lines = initial.model(one)
    assert path == trained[0].best.resolve() and kept.init == str(path)
    assert lines[0] == f"weights of {path} (moving averages of the weights, ema=0.9):"
    return model, plain, kept, lines[1:]


def same(part, other):
    pairs = list(zip(part.weights, other.weights, strict=True))
    assert pairs
    return all(np.array_equal(a, b) for a, b in pairs)


def test_a_backbone_and_a_head_with_the_same_classes_are_taken(trained):
    model, _, kept, lines = started(trained)
    assert same(model, trained[1])
    backbone, head = (f"{sum(np.prod(v.shape) for v in p.weights):,}" for p in (model.backbone, model.heads["unet"]))
    assert lines == [f"  backbone: {backbone} parameters loaded", f"  head unet: {head} parameters loaded"]
    assert kept.replace(init=None) == recipe()


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (
            "[sky, sea]",
            "other classes (2 in the file, 2 here): wet land only in the file, sea only here",
        ),
        ("[sky, wet land, sea]", "other classes (2 in the file, 3 here): sea only here"),
        ("[wet-land, sky]", "its classes are in another order: sky, wet land in the file, wet-land, sky here"),
        (
            "3",
            "other classes (2 in the file, 3 here): sky, wet land only in the file, 0, 1, 2 only here",
        ),
    ],
)
def test_a_head_with_other_classes_is_reinitialized(trained, classes, said):
    model, plain, _, (_, line) = started(trained, f"head.classes={classes}")
    assert same(model.backbone, trained[1].backbone)
    assert same(model.heads["unet"], plain.heads["unet"])  # as if nothing had been loaded
    assert line.startswith("  head unet: re-initialized, ") and line.endswith(f" parameters: {said}")


@pytest.mark.parametrize(
    ("classes", "said"), [("[Sky, wet_land]", "sky is Sky now, wet land is wet_land now"), ("2", "sky is 0 now")]
)
def test_classes_that_are_only_spelled_otherwise_are_said(trained, classes, said):
    model, _, _, (_, line) = started(trained, f"head.classes={classes}")
    assert same(model, trained[1]) and f"; classes renamed: {said}" in line


def test_heads_are_added_and_left_out_and_find_each_other_by_kind(trained):
    several = (
        "heads={regions: {name: unet, filters: [8, 4], classes: [sky, wet land]}, kind: {name: classifier, classes: 3}}"
    )
    model, plain, _, lines = started(trained, several)
    assert same(model.heads["regions"], trained[1].heads["unet"])
    assert same(model.heads["kind"], plain.heads["kind"])
    assert lines[1].endswith("loaded from head unet") and lines[2].endswith("parameters: the file has no such head")
    model, plain, _, lines = started(trained, "head={name: classifier, classes: 3}")
    assert same(model.backbone, trained[1].backbone) and same(model.heads["classifier"], plain.heads["classifier"])
    assert lines[2] == "  head unet of the file: left out"


def test_other_settings_of_a_head_whose_weights_fit_are_said(trained):
    model, _, _, (_, line) = started(trained, "head.loss={dice: 1.0}")
    assert same(model, trained[1])
    assert re.search(r"parameters loaded; other settings: loss cross_entropy in the file, \{'dice': 1.0\} here$", line)


def test_a_head_of_other_shapes_is_reinitialized_and_another_image_size_does_not_matter(trained):
    _, _, _, (_, line) = started(trained, "head.filters=[8,6]")
    assert "re-initialized" in line and "has the shape (1, 1, 4, 2) in the file, (1, 1, 6, 2) here" in line
    model, *_ = started(trained, "data.size=[64,96]")
    assert same(model, trained[1]) and model.backbone.input.shape[1:3] == (64, 96)


def test_levels_that_the_file_lacks_keep_pretrained_weights(trained, tmp_path):
    """The trained network ends where its head does; a head that taps more needs the recipe's own weights there."""
    shallow = recipe("head={name: classifier, tap: C1, classes: 2}")
    made(shallow, 3).save(tmp_path / "shallow.keras")
    whole = made(recipe(), 4)
    whole.save(tmp_path / "whole.keras")
    words = [f"backbone.weights={tmp_path / 'whole.keras'}"]
    model, kept, _, lines = Initial.of(tmp_path / "shallow.keras").model(recipe(*words))
    saved = {v.path: v for v in vt.load_model(tmp_path / "shallow.keras").backbone.weights}
    here = {v.path: v for v in model.backbone.weights}
    there = {v.path: v for v in whole.backbone.weights}
    assert 0 < len(saved) < len(here)
    for path, variable in here.items():
        assert np.array_equal(variable, saved[path] if path in saved else there[path])
    assert "not in the file" in lines[1] and kept.backbone["weights"] == words[0].partition("=")[2]


def test_what_is_trained_is_the_network_whose_weights_were_taken(trained, tmp_path, monkeypatch):
    """Pretrained weights may make another network, which cannot take those of the file."""
    shallow = made(recipe("head={name: classifier, tap: C1, classes: 2}"), 3)
    shallow.save(tmp_path / "shallow.keras")
    build_model = build.model

    def prepared_otherwise(one, loader=None):
        model = build_model(one.replace(backbone={**one.backbone, "weights": None}), loader)
        if one.backbone.get("weights"):
            (pixels,) = [layer for layer in model.backbone.layers if layer.name == "pixels"]
            pixels._arguments = {**pixels.arguments, "mean": (1.0, 2.0, 3.0)}
        return model

    monkeypatch.setattr(build, "model", prepared_otherwise)
    model, kept, *_ = Initial.of(tmp_path / "shallow.keras").model(recipe("backbone.weights=pretrained.keras"))
    here = {v.path: v for v in model.backbone.weights}
    assert all(np.array_equal(v, here[v.path]) for v in shallow.backbone.weights)
    assert kept.backbone["weights"] is None


def test_pretrained_weights_are_not_loaded_for_nothing(trained, monkeypatch):
    monkeypatch.setattr("visiontasks.backbones.unet_encoder.load_weights", lambda model, path: path and 1 / 0)
    _, kept, *_ = Initial.of(trained[0].path).model(recipe("backbone.weights=gone.keras"))
    assert kept.backbone["weights"] is None  # nor when this run is resumed
    # which is no difference to what was asked for when it began, nor are the weights that it began with
    assert differences(kept, recipe("backbone.weights=gone.keras")) == []
    assert differences(kept, recipe().replace(init="other")) == [f"init is {kept.init}, asked for is other"]


def test_item_61_another_backbone_is_named_with_the_fix(trained, tmp_path):
    initial = Initial.of(trained[0].path)
    for words, said in (
        (
            ["backbone.depth=4"],
            r"init: .*backbone\.depth is 3 in the file, 4 here\. Set backbone\.depth=3, or leave init out",
        ),
        (
            ["backbone.name=lenet5"],
            r"backbone\.name is unet_encoder in the file, lenet5 here\. Set backbone\.name=unet_",
        ),
    ):
        with pytest.raises(UserError, match=said):
            initial.check(recipe(*words, "head={name: classifier, classes: 2}"))
    shutil.copy(trained[0].best, tmp_path / "m.keras")  # of a file alone the networks are compared
    for words, said in (
        (["backbone.filters=8"], r"filters 4 in the file, 8 here"),
        (["backbone.name=lenet5"], r"it is unet_encoder in the file, lenet5 here"),
    ):
        initial = Initial.of(tmp_path / "m.keras")
        other = recipe(*words, "head={name: classifier, classes: 2}")
        initial.check(other)
        with pytest.raises(
            UserError, match=rf"init: .*m\.keras has another backbone than this recipe builds: .*{said}"
        ):
            initial.model(other)


def test_weights_that_pixels_are_prepared_for_otherwise_do_not_fit(tmp_path):
    """The same layers and shapes: only the settings tell."""
    words = ["backbone.name=resnet20", "head={name: classifier, classes: 2}"]
    model = build.model(build.recipe("unet_seg", ["data.size=[32,32]", "backbone.weights=null", *words])[0])
    (pixels,) = [layer for layer in model.backbone.layers if layer.name == "pixels"]
    pixels.mean = (1.0, 2.0, 3.0)
    pixels._arguments = {**pixels.arguments, "mean": (1.0, 2.0, 3.0)}
    model.save(tmp_path / "m.keras")
    with pytest.raises(UserError, match=r"pixels has mean \[1.0, 2.0, 3.0\] in the file"):
        Initial.of(tmp_path / "m.keras").model(
            build.recipe("unet_seg", ["data.size=[32,32]", "backbone.weights=null", *words])[0]
        )


def test_the_best_checkpoint_is_damaged_or_a_strangers_and_the_last_is_taken(trained, tmp_path):
    run = RunDirectory(shutil.copytree(trained[0].path, tmp_path / "run"))
    checkpoints.damage(run.best, "truncated")
    with pytest.warns(UserWarning, match=r"best\.keras cannot be used: .*last\.keras is used instead"):
        assert Initial.of(run.path).paths == (run.last.resolve(),)
    checkpoints.write(run.best)  # it is whole, but not what Keras makes a model of
    with pytest.warns(UserWarning, match=r"best\.keras: expected a model that visiontasks saved.*last\.keras is used"):
        path, saved = Initial.of(run.path).load()
    assert path == run.last.resolve() and same(saved, trained[1])


def test_item_73_a_strangers_file_is_refused_and_runs_nothing(tmp_path):
    marker = tmp_path / "marker"
    inputs = keras.Input((8, 8, 3), dtype="uint8", name="image")
    outputs = keras.layers.Lambda(lambda x, path=str(marker): (open(path, "w").close(), x)[1])(inputs)
    backbone = keras.Model(inputs, {"C1": keras.layers.Conv2D(2, 3, strides=2, padding="same")(outputs)})
    vt.VisionModel(backbone, vt.heads.Classifier(2)).save(tmp_path / "m.keras")
    marker.unlink(missing_ok=True)
    with pytest.raises(
        UserError,
        match=r"init: .*m\.keras: expected a model that visiontasks saved: it has code in it, which is not run",
    ):
        Initial.of(tmp_path / "m.keras").model(recipe())
    assert not marker.exists()
    with pytest.raises(UserError, match="init: expected a run's folder or a .keras file; .*gone does not exist"):
        Initial.of(tmp_path / "gone")
    (tmp_path / "no.keras").write_bytes(b"")
    with pytest.raises(UserError, match=r"init: .*no\.keras is no trained model that can be read: it is empty"):
        Initial.of(tmp_path / "no.keras")


def test_words_that_contradict_each_other_or_lead_nowhere(trained):
    for words, said in (
        ([f"resume={trained[0].path}", f"init={trained[0].path}"], "init: a resumed run goes on with its own weights"),
        (["recipe=unet_seg", "init=gone"], "init: expected a run's folder"),
        (
            ["recipe=unet_seg", f"init={trained[0].path}"],
            "init: .* has another backbone: backbone.name is unet_encoder",
        ),
    ):
        with pytest.raises(UserError, match=said):
            train.train(words)


def test_in_python(trained, tmp_path):
    model = build.model(recipe())
    assert vt.load_weights(model, trained[0].path)[1].startswith("head unet: ") and same(model, trained[1])
    with pytest.raises(UserError, match=r"path: .* has another backbone: .*4 in the file, 8 here"):
        vt.load_weights(build.model(recipe("backbone.filters=8")), trained[0].best)
    with pytest.raises(UserError, match="path: expected a run's folder"):
        vt.load_weights(model, tmp_path / "gone")
    words = [*WORDS, SEGMENTS, f"init={trained[0].path}"]
    assert same(vt.from_recipe("unet_seg", *words), trained[1])
    with pytest.raises(UserError, match="init: a recipe starts a training with it"):
        build.check_complete(recipe(f"init={trained[0].path}"))


def test_a_run_keeps_where_it_began(trained, tmp_path):
    loader = Loader(Blocks(), fields=("mask",), batch=4)
    mark = {"init": {"path": "p", "sha256": digest(trained[0].best)}}
    one = recipe(f"run.dir={tmp_path}").replace(init=str(trained[0].best))
    run = runs.begin(one, loader, {}, mark)
    again = RunDirectory(run.path)
    assert again.begun == mark and not again.ended
    assert build.recipe(str(run.recipe))[0].init == str(trained[0].best)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert runs.begin(one, loader, {}).begun == {}
