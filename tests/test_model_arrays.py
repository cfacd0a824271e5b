"""Arrays given to `fit` and `evaluate` by hand: each mistake that people make is an error that names the fix."""

import fakes
import keras
import numpy as np
import pytest

from visiontasks import model_arrays
from visiontasks.heads.classifier import Classifier
from visiontasks.heads.ssd import SSD
from visiontasks.heads.tagger import Tagger
from visiontasks.heads.unet import UNet
from visiontasks.model import VisionModel

HEADS = {
    "label": Classifier(fakes.CLASSES, name="label"),
    "mask": UNet(fakes.CLASSES, name="mask"),
    "tags": Tagger(fakes.CLASSES, name="tags"),
    "objects": SSD(fakes.CLASSES, name="objects"),
}


def batch():
    """One box and one -1 behind it in each image."""
    made = fakes.images(4)
    made["boxes"] = np.concatenate([made["boxes"], np.zeros_like(made["boxes"])], axis=1)
    made["classes"] = np.concatenate([made["classes"], np.full_like(made["classes"], -1)], axis=1)
    made["ignored"] = np.zeros(made["classes"].shape, bool)
    return made


def with_value(array, value):
    array = array.copy()
    array.flat[0] = value
    return array


MISTAKES = {
    "image of shares": ("image", lambda x: x.astype("float32") / 255, r"uint8 images .* got float32.* times 255"),
    "image of 16 bits": (
        "image",
        lambda x: x.astype("uint16") * 257,
        "got uint16 from .* to .*Scale them",
    ),
    "image below 0": ("image", lambda x: x.astype("int32") - 99, "uint8 images .* got int32 from -99 to"),
    "gray image": ("image", lambda x: x[..., 0], r"uint8 \(N, H, W, 3\), got uint8 \(4, 32, 32\)"),
    "one-hot label": ("label", lambda x: np.eye(3)[x], r"one-hot float64 \(4, 3\). Give argmax"),
    "label of two numbers": (
        "label",
        lambda x: np.stack([x, x], 1),
        r"expected class numbers \(N,\), got int32 \(4, 2\)",
    ),
    "label beyond the classes": ("label", lambda x: with_value(x, 3), "below 3, .*'label', or -1 .*; got 3"),
    "label of -2": ("label", lambda x: with_value(x, -2), "-1 for not labeled; got -2"),
    "label between": ("label", lambda x: x + 0.5, "whole numbers below 3.* got 0.5"),
    "mask with an axis": ("mask", lambda x: x[..., None], r"\(N, 32, 32\) as the images, .* Give mask\[..., 0\]"),
    "one-hot mask": ("mask", lambda x: np.eye(3)[x], r"one-hot float64 \(4, 32, 32, 3\). Give argmax"),
    "small mask": ("mask", lambda x: x[:, ::2, ::2], r"\(N, 32, 32\) as the images, got int32 \(4, 16, 16\)"),
    "mask of 0 and 255": (
        "mask",
        lambda x: np.uint8(255 * (x > 0)),
        "seems to be the foreground. Give mask // 255",
    ),
    "mask beyond the classes": ("mask", lambda x: with_value(x, 7), "below 3, .*'mask', or 255 for void; got 7"),
    "mask of -1": ("mask", lambda x: with_value(x, -1), "255 for void; got -1"),
    "tags of another width": ("tags", lambda x: x[:, :2], r"\(N, 3\), a column for each class of 'tags', got .*4, 2"),
    "tags as probabilities": ("tags", lambda x: x * 0.5, "1 .present., 0 .absent. or -1 .not labeled., got 0.5"),
    "boxes as x, y, width, height": ("boxes", lambda x: x - [0, 0, 20, 20], r"x1 < x2 .* got .*4.0\].* add x and y"),
    "boxes as shares": ("boxes", lambda x: x / 32, "none beyond 1. Multiply shares"),
    "boxes outside": ("boxes", lambda x: x + [0, 0, 9, 0], "32 wide and 32 high, got .*33.0.* Clip"),
    "boxes of nan": ("boxes", lambda x: with_value(x, np.nan), "x1 < x2 and y1 < y2, got .*nan"),
    "boxes of another number": ("boxes", lambda x: x[:, :1], r"expected \(4, 2, 4\), one for each class number"),
    "boxes of five numbers": ("boxes", lambda x: np.zeros((4, 2, 5)), r"x1, y1, x2, y2 \(N, G, 4\), got"),
    "class beyond the classes": ("classes", lambda x: with_value(x, 9), "below 3, .*'objects', or -1 .*; got 9"),
    "class of -2": ("classes", lambda x: with_value(x, -2), "-1 for no object; got -2"),
    "one class an image": ("classes", lambda x: x[:, 0], r"\(N, G\), one for each box, got int32 \(4,\)"),
    "known of another width": ("known", lambda x: np.ones((4, 2), bool), r"expected bool \(4, 3\), got bool"),
    "ignored as numbers": ("ignored", lambda x: np.zeros((4, 2)), r"expected bool \(4, 2\), got float64"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_with_its_fix(mistake):
    field, change, text = MISTAKES[mistake]
    given = batch()
    given[field] = change(given.get(field))
    images = given.pop("image")
    with pytest.raises(ValueError, match=f"^{field}: (expected .*)?{text}"):
        model_arrays.check(HEADS, {"image": images, **given})
    with pytest.raises(ValueError, match=f"^validation_data: {field}: "):
        model_arrays.check(HEADS, images, given, "validation_data: ")


def test_right_arrays_pass():
    given = batch()
    model_arrays.check(HEADS, given)
    unlabeled = {"label": -1, "mask": 255, "tags": -1, "classes": -1}
    given |= {field: np.full_like(given[field], value) for field, value in unlabeled.items()} | {
        "boxes": given["boxes"]
    }
    given |= {"known": np.ones((4, 3), bool), "ignored": np.zeros((4, 2), bool)}
    model_arrays.check(HEADS, given)
    model_arrays.check({"label": HEADS["label"]}, given["image"], np.zeros((4, 1), np.uint8))  # Keras's own data sets
    model_arrays.check(HEADS, iter([given]))  # no arrays: a loader's


def test_each_head_s_label_set_is_checked():
    """Two sets of boxes in one batch, each with its own classes."""
    given, heads = batch(), {"cars": SSD(2, learns="cars"), "cells": SSD(3, learns="cells")}
    for name in heads:
        given |= {f"{name}/boxes": given["boxes"], f"{name}/classes": np.minimum(given["classes"], 1)}
    model_arrays.check(heads, given)
    given["cars/classes"] = given["classes"]
    with pytest.raises(ValueError, match="^cars/classes: expected whole numbers below 2, .*'cars'"):
        model_arrays.check(heads, given)
    given |= {"cars/classes": given["cells/classes"], "cells/known": np.ones((4, 2), bool)}
    with pytest.raises(ValueError, match=r"^cells/known: expected bool \(4, 3\)"):
        model_arrays.check(heads, given)


@pytest.mark.parametrize("way", ["dict", "pair", "validation dict", "validation pair", "evaluate"])
def test_fit_and_evaluate_check_what_they_are_given(way):
    model = VisionModel(fakes.backbone(), {"label": Classifier(fakes.CLASSES), "mask": UNet(fakes.CLASSES)})
    model.compile("adam")
    good = batch()
    bad = {**good, "mask": good["mask"][..., None]}
    calls = {
        "dict": lambda: model.fit(bad, verbose=0),
        "pair": lambda: model.fit(bad["image"], bad, verbose=0),
        "validation dict": lambda: model.fit(good, validation_data=bad, verbose=0),
        "validation pair": lambda: model.fit(good, validation_data=(bad["image"], bad), verbose=0),
        "evaluate": lambda: model.evaluate(bad, verbose=0),
    }
    with pytest.raises(ValueError, match=r"mask: expected .* Give mask\[..., 0\]"):
        calls[way]()


def test_a_bare_array_is_the_only_head_s():
    model = VisionModel(fakes.backbone(), Classifier(fakes.CLASSES))
    model.compile("adam")
    with pytest.raises(ValueError, match="label: expected .* one-hot"):
        model.fit(batch()["image"], keras.utils.to_categorical(batch()["label"], 3), verbose=0)
    named = VisionModel(fakes.backbone(), Classifier(fakes.CLASSES, learns="days"))
    named.compile("adam")
    named.fit(batch()["image"], batch()["label"], verbose=0)
    with pytest.raises(ValueError, match="days/label: expected .* one-hot"):
        named.fit(batch()["image"], keras.utils.to_categorical(batch()["label"], 3), verbose=0)


def test_arrays_are_looked_at_once_a_fit(monkeypatch):
    calls = []
    check = model_arrays.check
    monkeypatch.setattr(model_arrays, "check", lambda *a, **k: (calls.append(k), check(*a, **k)))
    model = VisionModel(fakes.backbone(), Classifier(fakes.CLASSES))
    model.compile("adam")
    model.fit(batch(), validation_data=batch(), epochs=3, verbose=0)
    assert len(calls) == 2
