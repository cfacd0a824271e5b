"""The command end to end, on a run's folder made here: what it writes, and what it says is wrong."""

import json
import signal

import cv2
import fakes
import keras
import numpy as np
import pytest
from explain.models import classifier

from visiontasks.errors import UserError
from visiontasks.explain import __main__ as explain_main
from visiontasks.explain import sheets
from visiontasks.explain.__main__ import METHODS, _one, explain
from visiontasks.explain.believing import Faithfulness, shuffled
from visiontasks.explain.drawings import explanation
from visiontasks.explain.scoring import Explained
from visiontasks.geometry import Placement
from visiontasks.heads.ssd import SSD
from visiontasks.model import VisionModel
from visiontasks.preprocess import Preprocess
from visiontasks.signals import Stopped


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(the folder of a run, a folder with two images of one name)."""
    root = tmp_path_factory.mktemp("work")
    model, images = classifier()
    (root / "run" / "checkpoints").mkdir(parents=True)
    (root / "run" / "recipe.yaml").write_text("")
    model.save(root / "run" / "checkpoints" / "best.keras")
    for folder, image in zip(("a", "b"), images, strict=True):
        (root / "images" / folder).mkdir(parents=True)
        cv2.imwrite(str(root / "images" / folder / "one.png"), cv2.resize(image, (50, 40))[..., ::-1])
    return root / "run", root / "images"


def test_it_writes_a_drawing_an_image_and_a_report(run, tmp_path, capsys):
    words = [f"run={run[0]}", f"source={run[1]}", f"out={tmp_path / 'out'}", "how=gradcam,occlusion", "target=ring"]
    assert explain([*words, "json=true"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((tmp_path / "out" / "explanations.json").read_text())
    records = found["images"]
    assert found["maps"].keys() == {"gradcam", "occlusion"} and found["maps"]["gradcam"]["images"] == 2
    assert [record["drawing"] for record in records] == ["one.png", "one_2.png"]
    for record in records:
        assert (record["head"], record["kind"], record["name"]) == ("classifier", "class", "ring")
        assert record["maps"].keys() == {"gradcam", "occlusion"}
        for one in record["maps"].values():
            assert one["faithful"] == (not one["reasons"]) and -1 <= one["correlation"] <= 1
        drawn = cv2.imread(str(tmp_path / "out" / record["drawing"]))
        assert drawn.shape[1] > 3 * 256  # the image and two maps


@pytest.mark.parametrize("ends", [ZeroDivisionError, signal.SIGTERM])
def test_a_stop_or_an_error_leaves_the_explanations_so_far_and_says_so(ends, run, tmp_path, monkeypatch, capsys):
    one, seen = explain_main._one, []

    def ended(*arguments):
        seen.append(arguments)
        if ends is signal.SIGTERM:
            signal.raise_signal(ends)  # after this image
        elif len(seen) == 2:
            raise ends
        return one(*arguments)

    monkeypatch.setattr(explain_main, "_one", ended)
    words = [f"run={run[0]}", f"source={run[1]}", f"out={tmp_path / 'out'}", "believe=false", "target=ring"]
    with pytest.raises(Stopped if ends is signal.SIGTERM else ends):
        explain(words)
    (record,) = json.loads((tmp_path / "out" / "explanations.json").read_text())["images"]
    assert record["drawing"] == "one.png"
    said = "explain ended before the last drawing: explanations.json holds what was explained so far of 1 of 2 images"
    assert (tmp_path / "out" / "incomplete.txt").read_text() == said + "\n"
    assert said in capsys.readouterr().out.replace("\n", " ")


def test_an_error_before_the_first_drawing_leaves_a_folder_that_is_taken_again(run, tmp_path, monkeypatch):
    words = [f"run={run[0]}", f"source={run[1]}", f"out={tmp_path / 'out'}", "believe=false", "target=ring"]
    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        patched.setattr(explain_main, "_one", lambda *_: 1 / 0)
        explain(words)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".visiontasks"]
    assert explain(words) == 0 and not (tmp_path / "out" / "incomplete.txt").exists()


def test_a_few_images_are_no_verdict(run, tmp_path, capsys):
    explain([f"run={run[0]}", f"source={run[1]}", f"out={tmp_path / 'out'}", "target=ring"])
    (verdict,) = json.loads((tmp_path / "out" / "explanations.json").read_text())["maps"].values()
    assert verdict["images"] == 2 and verdict["faithful"] is None
    wins = verdict.get("beats_both", 0)
    assert f"too few images to judge, beats both guesses in {wins}" in capsys.readouterr().out


def test_the_network_with_other_weights_is_asked_about_the_same_place(tmp_path, monkeypatch):
    model, images = detector()
    (record, _, _), asked = one_of(model, images, None, monkeypatch)
    assert record["maps"]["gradcam"]["correlation"] is not None
    (own, lost), boxes = asked, [choice.box for choice in asked]
    assert own is lost and boxes[0] is not None


def test_a_box_chooses_the_nearest_object(monkeypatch):
    model, images = detector()
    for box in ([0, 0, 40, 40], [60, 60, 100, 100]):
        (record, _, _), _ = one_of(model, images, np.float32(box), monkeypatch, believe=False)
        distance = np.mean(np.reshape(record["box"], (2, 2)) - np.reshape(box, (2, 2)), axis=0)
        assert np.abs(distance).max() < 25, "in pixels of the image, which is larger than the canvas"


def detector():
    keras.utils.set_random_seed(0)
    return VisionModel(fakes.backbone((32, 32)), SSD(fakes.CLASSES)), fakes.images(1)["image"]


def one_of(model, images, box, monkeypatch, believe=True):
    """(what the command makes of one image of 100×100, the choices of the Explained that it made)."""
    choices, init = [], Explained.__init__

    def recorded(self, *arguments, **named):
        init(self, *arguments, **named)
        choices.append(self.choice)

    monkeypatch.setattr(Explained, "__init__", recorded)
    other, preprocess = shuffled(model) if believe else None, Preprocess((32, 32), "stretch")
    return _one(model, other, cv2.resize(images[0], (100, 100)), preprocess, {}, box, ["gradcam"]), choices


def test_without_the_checks_there_are_maps_alone(run, tmp_path):
    words = [f"run={run[0]}", f"source={run[1] / 'a'}", f"out={tmp_path / 'out'}", f"how={','.join(METHODS)}"]
    assert explain([*words, "believe=false"]) == 0
    found = json.loads((tmp_path / "out" / "explanations.json").read_text())
    (record,) = found["images"]
    assert "maps" not in record and not found["maps"] and (tmp_path / "out" / "one.png").stat().st_size > 0


def test_channels_have_sheets(run, tmp_path, capsys, monkeypatch):
    drawn = []
    monkeypatch.setattr(sheets, "patch_sheet", lambda tap, best: drawn.append(best) or np.zeros((8, 8, 3), np.uint8))
    words = [f"run={run[0]}", f"source={run[1]}", f"out={tmp_path / 'out'}", "how=filters,maps,patches", "tap=C2"]
    assert explain([*words, "channels=1,6", "count=1"]) == 0
    assert [len(patches) for patches in drawn[0].values()] == [1, 1], "of two images"
    names = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert names == {"filters.png", "one_maps.png", "one_maps_2.png", "patches_C2.png"}
    assert "4 filters, norms" in capsys.readouterr().out


def test_filters_and_dreams_need_no_images(run, tmp_path):
    words = [f"run={run[0]}", f"out={tmp_path / 'out'}", "how=filters,dream", "tap=C2", "channels=0,3", "steps=2"]
    assert explain(words) == 0
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"filters.png", "dream_C2.png"}


def test_norms_are_json(run, tmp_path, capsys):
    assert explain([f"run={run[0]}", f"out={tmp_path / 'out'}", "how=filters", "json=true"]) == 0
    norms = json.loads(capsys.readouterr().out)["norms"]
    assert [len(values) for values in norms.values()] == [4, 8, 12]


def test_an_image_called_as_a_sheet_does_not_replace_it(run, tmp_path):
    image = cv2.imread(str(run[1] / "a" / "one.png"))
    cv2.imwrite(str(tmp_path / "filters.png"), image)
    words = [f"run={run[0]}", f"source={tmp_path / 'filters.png'}", f"out={tmp_path / 'out'}", "believe=false"]
    assert explain([*words, "how=filters,gradcam"]) == 0
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"filters.png", "filters_2.png"}
    record = json.loads((tmp_path / "out" / "explanations.json").read_text())["images"][0]
    assert record["drawing"] == "filters_2.png"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run=R"], "source"),
        (["run=R", "source=S", "how=gradcm"], "Did you mean 'gradcam'"),
        (["run=R", "source=S", "data.size=[3,3]"], "as it was trained"),
        (["run=R", "source=S", "target=rign"], "Did you mean 'ring'"),
        (["run=R", "source=S", "tap=C9"], "Choices: C3"),
        (["run=R", "source=S", "how=patches", "channels=a"], "channels: expected a whole number"),
        (["run=R", "how=dream", "channels=99"], "channels: C3 has channels 0 to 11"),
        (["run=R", "how=dream", "size=64,64"], "size: expected 32×32"),
        (["run=R", "how=dream", "steps=none"], "steps: expected a number"),
        (["run=R", "how=patches"], "expected source="),
        (["run=R", "source=S", "how=patches", "count=0"], "count: expected 1 or more"),
        (["run=R", "source=S", "box=1,2,3"], "box: expected x1,y1,x2,y2"),
        (["run=R", "source=S", "box=9,9,3,3"], "box: expected x1,y1,x2,y2"),
        (["run=R", "source=S", "box=1,2,30,40"], "box: a class is predicted for the whole image; leave it out"),
        (["run=R", "source=S", "how=patches", "channels=99"], "channels: C1 has channels 0 to 3"),
    ],
)
def test_wrong_words_are_named(run, words, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = [word.replace("=R", f"={run[0]}").replace("=S", f"={run[1]}") for word in words]
    with pytest.raises(UserError, match=says):
        explain(given)


def test_a_map_lies_where_the_canvas_is_and_its_title_says_whether_to_believe_it():
    image, placement = np.full((300, 400, 3), 200, np.uint8), Placement((300, 400), (64, 64), "crop")
    values = np.zeros((64, 64), np.float32)
    values[:32, 32:] = 1  # of the middle 300×300: columns 200 to 350, rows 0 to 150
    bad = Faithfulness(0.9, 0.1, (0.5, 0.5), (0.5, 0.5), 0.9)
    drawn = explanation(image, placement, "cat", [10, 10, 90, 90], {"Grad-CAM": (values, bad)})
    plain = explanation(image, placement, "cat", [10, 10, 90, 90], {"Grad-CAM": (values, None)})
    assert (drawn[:40] != plain[:40]).any() and (drawn[60:] == plain[60:]).all()
    bright = np.argwhere((drawn[..., 0] > 230) & (drawn[..., 2] < 190) & (drawn[..., 1] > 200))
    bright = bright[bright[:, 1] > drawn.shape[1] // 2]
    left = np.flatnonzero((drawn[100, :, 0] > 60) & (drawn[100, :, 0] < 80)).max() - 399  # the map's panel, gray
    low, high = bright.min(axis=0), bright.max(axis=0)
    assert abs((high - low)[1] - 150) < 8 and abs((low[1] - left) - 200) < 8
