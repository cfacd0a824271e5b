"""Precision on a CPU: what is timed, what is taken, and that timing changes nothing but the precision."""

import dataclasses
import json
import subprocess
from pathlib import Path

import keras
import numpy as np
import pytest
from omegaconf import OmegaConf

import visiontasks as vt
from visiontasks import build, precision, train
from visiontasks.training import devices

WORDS = ["backbone={name: unet_encoder, filters: 4, depth: 3}", "head={name: unet, filters: [8, 4]}", "train.epochs=2"]
WORDS += ["data.train.count=8", "data.val.count=4", "data.size=[32, 32]", "data.batch=4", "data.workers=0"]


@pytest.mark.parametrize(
    ("half", "policy"), [(0.6, "mixed_bfloat16"), (0.9, "mixed_bfloat16"), (0.91, "float32"), (1.4, "float32")]
)
def test_bfloat16_is_taken_if_it_is_clearly_faster(half, policy):
    taken, other = precision.faster({"float32": 1.0, "mixed_bfloat16": half})
    assert taken == policy and {taken, other} == set(precision.POLICIES)


@pytest.fixture
def recipe():
    made, _ = build.recipe("unet_seg", WORDS)
    return made


@pytest.fixture
def bfloat16(monkeypatch):
    """A processor with bfloat16 and two cores."""
    monkeypatch.setattr(devices, "cpu_has_bfloat16", lambda: True)
    monkeypatch.setattr(devices, "cores", lambda: 2)
    monkeypatch.setattr("keras.backend.backend", lambda: "tensorflow")


def test_only_a_long_training_is_timed(recipe, bfloat16, monkeypatch):
    batches = range(5)  # 5 batches of 4 images of 32²
    monkeypatch.setattr(precision, "LONG", 5 * 2 * 4 * 32 * 32 // 2)
    assert precision.pays(recipe, batches)
    assert not precision.pays(recipe, batches[:4])
    monkeypatch.setattr(devices, "cores", lambda: 4)
    assert not precision.pays(recipe, batches)
    longer = recipe.replace(train=dataclasses.replace(recipe.train, steps=16))  # four epochs
    assert precision.pays(longer, batches)


@pytest.mark.parametrize("lacking", ["bfloat16", "TensorFlow", "one device"])
def test_nothing_is_timed_where_bfloat16_is_not_faster_or_not_known_to_be(recipe, bfloat16, monkeypatch, lacking):
    monkeypatch.setattr(precision, "LONG", 1)
    assert precision.pays(recipe, range(5))
    if lacking == "bfloat16":
        monkeypatch.setattr(devices, "cpu_has_bfloat16", lambda: False)
    elif lacking == "TensorFlow":
        monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    else:
        recipe = recipe.replace(train=dataclasses.replace(recipe.train, devices="all"))
    assert not precision.pays(recipe, range(5))
    assert precision.resolve(recipe, range(5), None) == ("float32", "")


@pytest.mark.parametrize(
    ("asked", "capability", "policy"),
    [("auto", 8.0, "mixed_bfloat16"), ("auto", 7.5, "mixed_float16"), ("float32", None, "float32")],
)
def test_neither_a_gpu_nor_a_given_precision_is_timed(recipe, bfloat16, monkeypatch, asked, capability, policy):
    monkeypatch.setattr(precision, "LONG", 1)
    given = recipe.replace(train=dataclasses.replace(recipe.train, precision=asked))
    assert precision.resolve(given, range(5), capability) == (policy, "")


def test_the_choice_is_one_line_with_both_times(recipe, bfloat16, monkeypatch):
    monkeypatch.setattr(precision, "LONG", 1)
    monkeypatch.setattr(precision, "step_seconds", lambda *_: {"float32": 0.66, "mixed_bfloat16": 0.41})
    assert precision.resolve(recipe, range(5), None) == (
        "mixed_bfloat16",
        "precision: mixed_bfloat16 (a step takes 0.41 s, 0.66 s in float32)",
    )


def test_steps_that_fail_leave_float32_and_say_why(recipe, bfloat16, monkeypatch):
    def fails(*_):
        raise subprocess.CalledProcessError(1, "python", stderr=b"Traceback\nMemoryError: no room\n\n")

    monkeypatch.setattr(precision, "LONG", 1)
    monkeypatch.setattr(precision, "step_seconds", fails)
    policy, line = precision.resolve(recipe, range(5), None)
    assert policy == "float32" and "MemoryError: no room" in line and "\n" not in line


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="timed with TensorFlow only")
def test_a_timed_run_is_the_run_with_that_precision_and_its_recipe_times_nothing(monkeypatch, tmp_path, capsys):
    timed, step_seconds = [], precision.step_seconds
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(devices, "cpu_has_bfloat16", lambda: True)
    monkeypatch.setattr(precision, "LONG", 1)
    monkeypatch.setattr(precision, "faster", lambda seconds: precision.POLICIES[::-1])
    monkeypatch.setattr(precision, "step_seconds", lambda *task: timed.append(step_seconds(*task)) or timed[-1])
    assert train.train(["recipe=unet_seg", *WORDS, "dry_run=true"]) == 0
    assert not timed and "precision: auto" in capsys.readouterr().out

    assert train.train(["recipe=unet_seg", *WORDS]) == 0
    assert "precision: mixed_bfloat16 (a step takes " in capsys.readouterr().out
    assert len(timed) == 1 and timed[0].keys() == set(precision.POLICIES) and min(timed[0].values()) > 0
    (first,) = Path("runs/unet_seg").iterdir()
    assert OmegaConf.load(first / "recipe.yaml").train.precision == "mixed_bfloat16"
    assert json.loads((first / "summary.json").read_text())["precision"] == "mixed_bfloat16"

    assert train.train([f"recipe={first / 'recipe.yaml'}"]) == 0
    assert len(timed) == 1 and "precision: " not in capsys.readouterr().out
    (second,) = Path("runs/recipe").iterdir()
    models = [vt.load_model(run / "checkpoints" / "last.keras") for run in (first, second)]
    assert models[0].dtype_policy.name == "mixed_bfloat16"
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(one, other)
