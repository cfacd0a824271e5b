"""Detection from a folder of annotated images to boxes in original pixels, through the commands."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

import visiontasks as vt
from visiontasks import evaluate, predict, train
from visiontasks.errors import DataError, RecipeError
from visiontasks.evaluation.tasks.detection import SHOWN_FROM, Detection
from visiontasks.heads.ssd import SSD
from visiontasks.training import devices

COLORS = {"red cell": (40, 40, 220), "blue cell": (220, 60, 40)}  # blue, green, red, as OpenCV writes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """PASCAL VOC's layout: images of two sizes with a bright block or two; the same for training and validation."""
    root = tmp_path_factory.mktemp("cells é")
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(24):
        height, width = (96, 128) if i % 2 else (128, 96)
        image = rng.integers(60, 120, (height, width, 3), dtype=np.uint8)
        objects = []
        for half, (name, color) in enumerate(COLORS.items()):
            if (i + half) % 3 == 0:
                continue
            side = int(rng.integers(28, 44))
            x = int(rng.integers(0, width // 2 - 1)) if width // 2 <= side else int(rng.integers(0, width - side))
            y = half * height // 2 + int(rng.integers(0, max(1, height // 2 - side)))
            x2, y2 = min(width, x + side), min(height, y + side)
            image[y:y2, x:x2] = color
            objects.append(
                f"<object><name>{name}</name><bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin><xmax>{x2}</xmax>"
                f"<ymax>{y2}</ymax></bndbox></object>"
            )
        (root / "JPEGImages" / f"{i}.jpg").write_bytes(cv2.imencode(".jpg", image)[1].tobytes())
        size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
        text = f"<annotation><filename>{i}.jpg</filename>{size}{''.join(objects)}</annotation>"
        (root / "Annotations" / f"{i}.xml").write_text(text)
    for part, count in (("train", 24), ("val", 8)):
        (root / "ImageSets" / "Main" / f"{part}.txt").write_text("\n".join(map(str, range(count))))
    return root


def test_a_size_that_the_stride_does_not_divide_is_an_error_with_the_nearest_that_it_does(folder):
    words = ["recipe=retinanet_det", f"data={folder}", "backbone={name: unet_encoder, filters: 8, depth: 4}"]
    with pytest.raises(RecipeError, match=r"\[62, 64\] is not divisible by 8, .*data.size=\[64, 64\]"):
        train.train([*words, "head={name: retinanet, levels: [C2, C3]}", "data.size=[62, 64]"])


def test_predictions_are_in_the_images_original_pixels(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(devices, "suit_few_cores", lambda: None)  # it is for a process of its own, and lasts
    small = ["backbone={name: unet_encoder, filters: 16, depth: 4}", "head={name: ssd, extra: [half]}"]
    words = ["recipe=ssd_det", f"data={folder}", *small, "data.size=[96, 96]", "data.batch=4", "data.augment=[]"]
    words += ["train.epochs=20", "train.optimizer.learning_rate=4e-3", "data.workers=1"]
    assert train.train(words) == 0
    printed = capsys.readouterr().out
    assert "read as voc" in printed and "classes: 2 classes: blue cell, red cell" in printed
    (run,) = (tmp_path / "runs" / "ssd_det").iterdir()
    figures = json.loads((run / "evaluation.json").read_text())
    assert figures["ap50"] > 0.95
    for name in ("precision_recall.png", "confusion.png"):
        assert (run / name).stat().st_size > 0

    assert evaluate.evaluate(["run=runs", f"data={folder}", "out=again"]) == 0
    again = json.loads((tmp_path / "again" / "evaluation.json").read_text())
    assert again["ap50"] == pytest.approx(figures["ap50"])
    _, val = vt.load_data(str(folder), size=(96, 96), batch=4, resize="letterbox", workers=0)
    assert vt.score(vt.load_model(run / "checkpoints" / "best.keras"), val)["ap50"] == pytest.approx(figures["ap50"])
    val.names = {**val.names, "classes": ("red cell", "blue cell")}
    with pytest.raises(DataError, match=r"model's class names of 'classes', \['blue cell', 'red.* names=\[…\]"):
        vt.score(vt.load_model(run / "checkpoints" / "best.keras"), val)

    assert predict.predict(["run=runs", f"source={folder / 'JPEGImages'}", "out=predicted"]) == 0
    records = json.loads((tmp_path / "predicted" / "predictions.json").read_text())
    assert len(records) == 24 and (tmp_path / "predicted" / "0.png").stat().st_size > 0
    (first,) = (record for record in records if record["path"].endswith("/1.jpg"))
    assert first["size"] == [96, 128]
    best = first["ssd"][0]
    assert best["class"] in COLORS and SHOWN_FROM < best["score"] <= 1  # so it is drawn
    x1, y1, x2, y2 = best["box"]
    assert 0 <= x1 < x2 <= 128 and 0 <= y1 < y2 <= 96
    # most of what lies in the box has the class's colour
    image = cv2.imread(str(folder / "JPEGImages" / "1.jpg"))
    inside = image[round(y1) : round(y2), round(x1) : round(x2)].reshape(-1, 3).astype(int)
    near = np.abs(inside - COLORS[best["class"]]).max(axis=1) < 40
    assert near.mean() > 0.6

    # four of the images side by side, seen in tiles and mirrored: as many objects as in each alone
    names = [record["path"] for record in records if record["size"] == [96, 128]]
    cv2.imwrite("wide.png", np.concatenate([cv2.imread(name) for name in names], axis=1))
    words = ["run=runs", "source=wide.png", "out=wide", "tile=128", "overlap=0.4", "flip=true"]
    assert predict.predict(words) == 0
    (wide,) = json.loads((tmp_path / "wide" / "predictions.json").read_text())
    count = sum(one["score"] > 0.5 for record in records if record["path"] in names for one in record["ssd"])
    assert abs(sum(one["score"] > 0.5 for one in wide["ssd"]) - count) <= 2


def test_a_dry_run_draws_the_objects_of_a_batch(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(devices, "suit_few_cores", lambda: None)
    drawn = []
    monkeypatch.setattr(Detection, "draw_truth", lambda self, image, sample: drawn.append(sample) or image)
    small = ["backbone={name: unet_encoder, filters: 4, depth: 4}", "head={name: ssd, extra: [half]}"]
    words = ["recipe=ssd_det", f"data={folder}", *small, "data.size=[96, 96]", "data.batch=8", "data.augment=[]"]
    assert train.train([*words, "dry_run=true", "data.workers=0"]) == 0
    printed = capsys.readouterr().out
    (drawn_file,) = re.findall(r"with its labels: (.*batch\.png)", printed)
    assert Path(drawn_file).stat().st_size > 0 and "boxes float32 (8, 100, 4)" in printed
    # as the folder was made: of every image's two objects each third is left out
    expected = sorted([name for half, name in enumerate((1, 0)) if (i + half) % 3] for i in range(8))
    assert sorted(sample.classes.tolist() for sample in drawn) == expected


def test_several_sizes_are_traced_once_each(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(devices, "suit_few_cores", lambda: None)
    traced, call = [], SSD.call

    def counted(self, features, training=None):
        traced.append((training, tuple(features["image"].shape[1:3])))
        return call(self, features, training=training)

    monkeypatch.setattr(SSD, "call", counted)
    small = ["backbone={name: unet_encoder, filters: 4, depth: 4}", "head={name: ssd, extra: [half]}"]
    words = ["recipe=ssd_det", f"data={folder}", *small, "data.size=[96, 96]", "data.batch=2", "data.workers=0"]
    words += ["data.sizes=[[64, 80], [96, 96]]", "data.augment=[Mosaic]"]
    assert train.train([*words, "train.epochs=1"]) == 0
    trained = [size for training, size in traced if training]
    assert sorted(trained) == [(64, 80), (96, 96)]
    assert {size for training, size in traced if training is False} == {(96, 96)}
    assert predict.predict(["run=runs", f"source={folder / 'JPEGImages'}"]) == 0
    assert train.train([*words, "dry_run=true"]) == 0
    with pytest.raises(RecipeError, match=r"data.sizes: expected .*\[height, width\]"):
        train.train([*words, "data.sizes=[64, 96]"])
