"""What an evaluation writes: COCO's own tools read it, and score it the same."""

import json
import signal
from pathlib import Path

import fakes
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rich.console import Console

from visiontasks.data.batch import row_of
from visiontasks.data.derived import Mixed, Named
from visiontasks.data.images import write_image
from visiontasks.data.load import load_data
from visiontasks.data.pipeline import Loader
from visiontasks.data.sources.shapes import Shapes
from visiontasks.evaluation.evaluator import evaluate, panels, score
from visiontasks.evaluation.report import write_evaluation
from visiontasks.evaluation.tasks.detection import Detection
from visiontasks.heads.ssd import SSD
from visiontasks.registry.catalog import tasks_of
from visiontasks.sample import Sample
from visiontasks.signals import Stop, Stopped

CATEGORIES = [{"id": 9, "name": "cat"}, {"id": 4, "name": "dog"}]  # ids with gaps, and not in the order of the file


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("coco")
    rng = np.random.default_rng(0)
    images, annotations = [], []
    (root / "val").mkdir()
    for number in range(12):
        height, width = int(rng.integers(50, 90)), int(rng.integers(60, 120))
        write_image(root / "val" / f"{number}.png", rng.integers(0, 255, (height, width, 3), np.uint8))
        images.append({"id": 100 - number, "file_name": f"{number}.png", "height": height, "width": width})
        for _ in range(4):
            x, y = rng.uniform(0, width - 30), rng.uniform(0, height - 30)
            w, h = rng.uniform(8, 30, 2)
            annotations.append(
                {"id": len(annotations) + 1, "image_id": 100 - number, "bbox": [x, y, w, h], "area": w * h}
                | {"category_id": (4, 9)[rng.integers(2)], "iscrowd": 0}
            )
    (root / "annotations").mkdir()
    file = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    (root / "annotations" / "instances_val.json").write_text(json.dumps(file))
    return root


class Perturbed:
    """A model that predicts the ground-truth boxes, moved a little, and others."""

    backbone = fakes.ANY_SIZE

    def __init__(self, loader, heads):
        self.heads, self.rng = heads, np.random.default_rng(1)
        self.labels = {batch["image"].tobytes(): batch for batch, _ in loader.with_samples()}

    def by_head(self, outputs):
        return {name: outputs for name in self.heads}

    def predict_on_batch(self, images):
        batch, rng = self.labels[images.tobytes()], self.rng
        boxes = batch["boxes"][:, :8] + rng.normal(0, 3, (len(images), 8, 4)).astype(np.float32)
        valid = batch["classes"][:, :8] >= 0
        classes = np.where(rng.random(valid.shape) < 0.8, np.maximum(batch["classes"][:, :8], 0), 0)
        scores = rng.random(valid.shape).astype(np.float32)
        return {"boxes": boxes, "classes": classes.astype(np.int32), "scores": scores, "valid": valid}


def test_coco_s_own_tools_give_the_same_figures(folder, tmp_path):
    data = {"source": "coco", "annotations": str(folder / "annotations/instances_val.json")}
    train, loader = load_data({"train": data, "val": data}, size=(96, 128), batch=4, resize="letterbox")
    assert train.names["classes"] == ("dog", "cat")
    names = loader.names["classes"]
    evaluation = write_evaluation(
        Perturbed(loader, ["one"]), loader, {"one": Detection(names)}, tmp_path, Console(quiet=True), draw=0
    )
    ground_truth = COCO(data["annotations"])
    scored = COCOeval(ground_truth, ground_truth.loadRes(str(tmp_path / "coco_results.json")), "bbox")
    scored.evaluate()
    scored.accumulate()
    scored.summarize()
    assert 0.05 < scored.stats[0] < 0.95
    for name, value in zip(("ap", "ap50", "ap75"), scored.stats[:3], strict=False):
        assert evaluation.metrics[name] == pytest.approx(value, abs=1e-6), name


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_item_92_a_stop_leaves_an_earlier_evaluation_as_it_is(folder, tmp_path, monkeypatch):
    data = {"source": "coco", "annotations": str(folder / "annotations/instances_val.json")}
    _, loader = load_data({"train": data, "val": data}, size=(96, 128), batch=4)
    tasks = {"one": Detection(loader.names["classes"])}

    def write(model, **more):
        write_evaluation(model, loader, tasks, tmp_path, Console(quiet=True), draw=3, **more)

    write(Perturbed(loader, ["one"]))
    (tmp_path / "old_coco_results.json").touch()  # of an evaluation with several heads
    before, other = contents(tmp_path), Perturbed(loader, ["one"])
    other.rng = np.random.default_rng(2)
    predict = other.predict_on_batch

    def stopped(images):
        signal.raise_signal(signal.SIGTERM)
        return predict(images)

    monkeypatch.setattr(other, "predict_on_batch", stopped)
    with pytest.raises(Stopped, match="SIGTERM"):
        write(other)
    monkeypatch.setattr(other, "predict_on_batch", predict)
    (tmp_path / "notice").touch()
    with pytest.raises(Stopped, match="the stop file"):
        write(other, stop=Stop(tmp_path / "notice"))
    (tmp_path / "notice").unlink()
    assert contents(tmp_path) == before
    monkeypatch.setattr("visiontasks.evaluation.report.write_json", lambda *_: signal.raise_signal(signal.SIGHUP))
    with pytest.raises(Stopped, match="SIGHUP"):
        write(other)
    after = contents(tmp_path)  # once it is complete, all of it is written first
    assert after.keys() - before.keys() and Path("old_coco_results.json") in before.keys() - after.keys()
    assert len(after) == len(before) - 1
    assert after[Path("coco_results.json")] != before[Path("coco_results.json")]


def test_several_heads_write_a_file_each(folder, tmp_path):
    data = {"source": "coco", "annotations": str(folder / "annotations/instances_val.json")}
    _, loader = load_data({"train": data, "val": data}, size=(96, 128), batch=4)
    names = loader.names["classes"]
    tasks = {"one": Detection(names), "two": Detection(names)}
    write_evaluation(Perturbed(loader, list(tasks)), loader, tasks, tmp_path, Console(quiet=True), draw=0)
    assert {p.name for p in tmp_path.glob("*.json")} == {
        "evaluation.json",
        "one_coco_results.json",
        "two_coco_results.json",
    }


def test_the_worst_the_best_and_random_images_are_drawn(folder, tmp_path):
    data = {"source": "coco", "annotations": str(folder / "annotations/instances_val.json")}
    _, loader = load_data({"train": data, "val": data}, size=(96, 128), batch=4)
    tasks = {"one": Detection(loader.names["classes"])}
    (tmp_path / "predictions").mkdir()
    for name in ("00_a.png", "11_b.png", "worst_07_old.jpg", "mine.png", "best_mine.jpg"):
        (tmp_path / "predictions" / name).write_bytes(b"x")
    evaluation = write_evaluation(Perturbed(loader, ["one"]), loader, tasks, tmp_path, Console(quiet=True), draw=6)
    files = sorted(path.name for path in (tmp_path / "predictions").iterdir())
    kept = [name for name in files if "mine" in name]
    assert kept == ["best_mine.jpg", "mine.png"]  # only drawings of an earlier evaluation are removed
    names = [f"{kind}_{rank:02d}" for kind in ("best", "random", "worst") for rank in range(2)]
    drawn = [name for name in files if name not in kept]
    assert [name.rsplit("_", 1)[0] for name in drawn] == names
    assert len({name.rsplit("_", 1)[1] for name in drawn}) == 6  # no image twice
    for name in drawn:
        assert (tmp_path / "predictions" / name).read_bytes()[:3] == b"\xff\xd8\xff"  # JPEG
    scores = [tasks["one"].image_score(one.sample, one.prediction["one"]) for one in evaluation.examples]
    assert scores[0] <= scores[1] < scores[3] <= scores[2] and all(scores[1] <= s <= scores[3] for s in scores[4:])


class Perfect(Perturbed):
    """A model whose heads predict what their label sets have, and in images of other sets a box that is not there."""

    def by_head(self, outputs):
        return outputs

    def predict_on_batch(self, images):
        batch, outputs = self.labels[images.tobytes()], {}
        for name, head in self.heads.items():
            labels = {key: value.copy() for key, value in head.label_set(batch).items() if key in ("boxes", "classes")}
            other = ~(labels["classes"] >= 0).any(axis=1)
            labels["boxes"][other, 0], labels["classes"][other, 0] = (1, 1, 20, 20), 0
            valid = labels["classes"] >= 0
            outputs[name] = {**labels, "valid": valid, "scores": valid.astype(np.float32)}
        return outputs


@pytest.mark.parametrize("learns", ["others", None])
def test_each_head_is_scored_and_drawn_by_its_own_label_set(learns):
    """Also where the head takes the only set of its kind by itself."""
    first, second = Shapes(3, size=(64, 64)), Shapes(2, size=(64, 64), seed=1)
    second.fields -= {"mask"}
    sources = [Named(second, "others")] if learns is None else [first, Named(second, "others")]
    wanted = ("others/boxes", "others/classes", *(() if learns is None else ("boxes", "classes")))
    loader = Loader(Mixed(sources), fields=wanted, size=(64, 64), batch=4, workers=0)
    heads = {"two": SSD(second.names["classes"], learns=learns)}
    if learns:
        heads = {"one": SSD(first.names["classes"]), **heads}
    model = Perfect(loader, heads)
    evaluation = evaluate(model, loader, tasks_of(model, loader.fields), draw=5)
    prefixes = [f"{name}/" for name in heads] if learns else [""]
    for prefix in prefixes:
        assert evaluation.metrics[f"{prefix}ap50"] == pytest.approx(1)
    assert score(model, loader) == pytest.approx(evaluation.metrics, nan_ok=True)
    task, image = Detection(second.names["classes"]), loader.source[0].image
    (one,) = (one for one in evaluation.examples if (one.sample.image == image).all())
    drawn = dict(panels(tasks_of(model, loader.fields), one.sample, one.prediction))
    drawn = drawn["two: ground truth" if learns else "ground truth"]
    labels = row_of(next(iter(loader)), 0).of("others")
    assert (labels.boxes is None) == bool(learns)  # the first image belongs to the other set
    ((_, expected), _) = task.draw_comparison(image, Sample(image) if learns else second[0], one.prediction["two"])
    np.testing.assert_array_equal(drawn, expected)
