"""Two data sets with different classes, learned by two heads of one model: from a recipe to metrics and predictions."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import visiontasks as vt
from visiontasks import build, evaluate, predict, train
from visiontasks.data.images import write_image
from visiontasks.errors import DataError, RecipeError, UserError
from visiontasks.heads.classifier import Classifier
from visiontasks.heads.ssd import SSD
from visiontasks.training import devices

COLORS = {"red": (220, 40, 40), "blue": (40, 60, 220), "green": (40, 220, 40)}
WARM, COLD = ("red", "green"), ("green", "blue")
SIZE, BLOCK = 64, 24


def data_set(root, classes, count, seed):
    """COCO files of images that all show blocks of three colors; only those of `classes` are annotated."""
    rng = np.random.default_rng(seed)
    for part in ("train", "val"):
        (root / part).mkdir(parents=True)
        annotations = []
        for number in range(count):
            image = rng.integers(90, 130, (SIZE, SIZE, 3), dtype=np.uint8)
            corners = rng.permutation([(4, 4), (4, 36), (36, 4), (36, 36)])
            for (x, y), (name, color) in zip(corners.tolist(), COLORS.items(), strict=False):
                image[y : y + BLOCK, x : x + BLOCK] = color
                if name in classes:
                    box = {"bbox": [x, y, BLOCK, BLOCK], "category_id": classes.index(name)}
                    annotations.append({"id": len(annotations), "image_id": number, **box})
            write_image(root / part / f"{number}.png", image)
        content = {
            "images": [{"id": n, "file_name": f"{n}.png", "height": SIZE, "width": SIZE} for n in range(count)],
            "annotations": annotations,
            "categories": [{"id": number, "name": name} for number, name in enumerate(classes)],
        }
        (root / f"{part}.json").write_text(json.dumps(content))


def words(root, heads, train_set, val_set, **more):
    """The arguments of the command `train`, for a recipe of a small network."""
    recipe = {
        "backbone": {"name": "unet_encoder", "filters": 8, "depth": 4},
        "heads": heads,
        "data": {"train": train_set, "val": val_set, "size": [SIZE, SIZE], "batch": 7, "workers": 0},
        "train": {"epochs": 3, "optimizer": {"name": "adam", "learning_rate": 3e-3}, "precision": "float32"},
        **more,
    }
    path = root / "joint.yaml"
    path.write_text(json.dumps(recipe))  # JSON is YAML
    return [f"recipe={path}"]


def sources(root, part, **sets):
    """The recipe's list of sources; the folder of each by the name of its set, None for no name."""
    return [
        {"source": "coco", "annotations": str(root / f"{folder}/{part}.json"), "images": str(root / f"{folder}/{part}")}
        | ({"set": name} if name != "bare" else {})
        for name, folder in sets.items()
    ]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("joint")
    data_set(root / "first", WARM, 16, 0)
    data_set(root / "second", COLD, 12, 1)
    return root


def detector(**arguments):
    return {"name": "ssd", "extra": ["half"], **arguments}


def test_two_heads_learn_two_vocabularies(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(devices, "suit_few_cores", lambda: None)  # it is for a process of its own, and lasts
    heads = {"warm": detector(), "others": detector(learns="cold")}
    sets = {"bare": "first", "cold": "second"}
    arguments = words(tmp_path, heads, sources(root, "train", **sets), sources(root, "val", **sets))
    assert train.train(arguments) == 0
    printed = capsys.readouterr().out
    assert "28 training images, 28 validation images" in printed
    assert "classes: 2 classes: red, green" in printed and "cold/classes: 2 classes: green, blue" in printed
    (run,) = (tmp_path / "runs" / "joint").iterdir()
    figures = json.loads((run / "evaluation.json").read_text())
    assert {"warm/ap50", "warm/ap/green", "others/ap50", "others/ap/green", "others/ap/blue"} <= figures.keys()
    with (run / "metrics.csv").open() as file:
        first, *_, last = csv.DictReader(file)
    for name in ("warm", "others"):
        assert float(last[f"{name}/classification_loss"]) < 0.8 * float(first[f"{name}/classification_loss"])

    model = vt.load_model(run / "checkpoints" / "best.keras")
    assert {name: (head.learns, head.classes) for name, head in model.heads.items()} == {
        "warm": (None, WARM),
        "others": ("cold", COLD),
    }
    image = str(root / "first/val/0.png")
    assert vt.load(run / "checkpoints" / "best.keras")(image).keys() == {"warm", "others"}
    assert predict.predict([f"run={run}", f"source={image}", "out=predicted"]) == 0
    (record,) = json.loads((tmp_path / "predicted" / "predictions.json").read_text())
    for name, classes in (("warm", WARM), ("others", COLD)):  # neither overwrites what the other found
        assert {detection["class"] for detection in record[name]} == set(classes)

    assert evaluate.evaluate([f"run={run}", "out=again"]) == 0
    again = json.loads((tmp_path / "again" / "evaluation.json").read_text())
    for name in ("warm/ap50", "others/ap50"):
        assert again[name] == pytest.approx(figures[name])


def test_heads_learn_the_only_set_of_their_kind(root, tmp_path, monkeypatch, capsys):
    """A named set needs no `learns` where no other set has the head's fields."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(devices, "suit_few_cores", lambda: None)  # it is for a process of its own, and lasts
    (train_set,), (val_set,) = (sources(root, part, cold="second") for part in ("train", "val"))
    arguments = words(tmp_path, {"boxes": detector(), "subject": {"name": "classifier"}}, train_set, val_set)
    assert train.train([*arguments, "dry_run=true"]) == 0
    printed = capsys.readouterr().out
    assert "head boxes" in printed and printed.count("2 classes: green, blue") == 2
    for name in ("boxes", "classes", "known", "label"):
        assert f" cold/{name} " in printed.replace("\n", " ")
    drawn = printed.replace("\n", "").partition("one augmented batch with its labels: ")[2]
    assert Path(drawn[: drawn.index(".png") + 4]).stat().st_size > 0
    recipe, _ = build.recipe(arguments[0].partition("=")[2])
    loader = build.validation(recipe, [SSD(COLD), Classifier(COLD)])
    assert loader.fields == ("cold/classes", "cold/boxes", "cold/label") and len(loader.source) == 12
    with pytest.raises(DataError, match=r"model's class names of 'cold/classes', \['blue', 'green'\]"):
        build.validation(recipe, [SSD(COLD[::-1]), Classifier(COLD)])


def test_sets_that_no_head_or_source_has_are_errors(root, tmp_path):
    both = [sources(root, part, warm="first", cold="second") for part in ("train", "val")]
    for learns, text in ((None, r"head 'one' learns from \['boxes', 'classes'\]"), ("cool", "cool/boxes")):
        recipe, _ = build.recipe(words(tmp_path, {"one": detector(learns=learns)}, *both)[0].partition("=")[2])
        with pytest.raises(RecipeError, match=f"{text}.*cold/boxes.*`set`.*`learns`"):
            build.loaders(recipe)
    with pytest.raises(RecipeError, match=r"data\.train\[1\]\.annotation: .*annotations"):
        wrong = [{**source, "annotation": 1} if source["set"] == "cold" else source for source in both[0]]
        build.recipe(words(tmp_path, {"one": detector(learns="cold")}, wrong, None)[0].partition("=")[2])
    with pytest.raises(UserError, match=r"data\.train\[0\]\.set: expected a name"):
        wrong = [{**source, "set": "a/b"} for source in both[0]]
        build.loaders(build.recipe(words(tmp_path, {"one": detector()}, wrong, None)[0].partition("=")[2])[0])


def test_a_value_of_one_of_several_sources_can_be_overridden(root, tmp_path):
    both = sources(root, "train", bare="first", cold="second")
    path = words(tmp_path, {"one": detector()}, both, None)[0].partition("=")[2]
    recipe, _ = build.recipe(path, ["data.train.1.set=other", "data.train.0.max_pixels=5000"])
    assert [source.get("set") for source in recipe.data.train] == [None, "other"]
    assert recipe.data.train[0]["max_pixels"] == 5000
