"""predict on videos, in tiles and mirrored, with networks with known predictions."""

import json
import os
import shutil
import signal
import types
from pathlib import Path

import cv2
import fakes
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from visiontasks import build, model_folding, predict, standard_streams
from visiontasks.data.video import Video, VideoWriter
from visiontasks.errors import DataError, UserError
from visiontasks.evaluation.tasks.detection import Detection
from visiontasks.inference.predictor import Predictor
from visiontasks.preprocess import Preprocess
from visiontasks.sample import Sample
from visiontasks.signals import Stopped

COLORS = {"red": (230, 30, 30), "green": (30, 200, 30)}
SIZE = (160, 160)


def blocks_as_objects(canvas, room=40):
    """A detector that cannot err: a box around every patch of one of the colours."""
    rows = []
    for number, color in enumerate(COLORS.values()):
        near = (np.abs(canvas.astype(int) - color) < 50).all(axis=-1).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(near, connectivity=4)
        rows += [(x, y, x + w, y + h, number, min(0.99, 0.5 + area / 20000)) for x, y, w, h, area in stats[1:].tolist()]
    one = {"boxes": np.zeros((room, 4), np.float32), "scores": np.zeros(room, np.float32)}
    one |= {"classes": np.zeros(room, np.int32), "valid": np.arange(room) < len(rows)}
    for i, row in enumerate(rows):
        one["boxes"][i], one["classes"][i], one["scores"][i] = row[:4], row[4], row[5]
    return one


def blocks_as_instances(canvas):
    """The same with masks: the left half of each box."""
    one = blocks_as_objects(canvas)
    one["masks"] = np.broadcast_to((np.arange(8) < 4).astype(np.float32), (len(one["boxes"]), 8, 8))
    return one


def likely_classes(canvas):
    """A segmenter: background, red, green; uncertain where the image is dark."""
    values = canvas.astype(np.float32) / 255
    raw = np.stack([np.full(canvas.shape[:2], 0.5), values[..., 0], values[..., 1]], axis=-1)
    return {"probabilities": (raw / raw.sum(axis=-1, keepdims=True)).astype(np.float32)}


def left_is_red(canvas):
    """A classifier that looks at the left half alone."""
    half = canvas[:, : canvas.shape[1] // 2].astype(np.float32).mean(axis=(0, 1))[:2] / 255
    return {"scores": half.astype(np.float32)}


FIELDS = {"instances": ("classes", "boxes", "instance_masks")}


class Network:
    """What predict needs of a VisionModel."""

    backbone = fakes.ANY_SIZE

    def __init__(self, answer, task):
        self.answer, self.shapes = answer, []
        names = ("background", *COLORS) if task == "segmentation" else tuple(COLORS)
        self.heads = {
            "head": types.SimpleNamespace(
                task=task, classes=names, fields=FIELDS.get(task, ()), prefix=lambda fields: "", skeleton=None
            )
        }
        self.preprocess = {"size": SIZE, "resize": "stretch"}

    def predict_on_batch(self, images):
        self.shapes.append(images.shape)
        ones = [self.answer(image) for image in images]
        return {key: np.stack([one[key] for one in ones]) for key in ones[0]}

    def by_head(self, outputs):
        return {"head": outputs}


@pytest.fixture(autouse=True)
def _nothing_to_fold(monkeypatch):
    """A Network has no convolutions."""
    monkeypatch.setattr(model_folding, "Folding", lambda network: lambda: network)


@pytest.fixture
def using(monkeypatch, tmp_path):
    """Makes predict answer by a function, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def use(answer, task):
        network = Network(answer, task)
        monkeypatch.setattr(build, "model", lambda recipe: network)
        monkeypatch.setattr(build, "check_complete", lambda recipe: None)
        return network

    return use


def run(*words, recipe="ssd_det"):
    shutil.rmtree("predictions", ignore_errors=True)
    assert predict.predict([f"recipe={recipe}", *words]) == 0
    return json.loads(open("predictions/predictions.json", encoding="utf-8").read())


def save(path, image):
    path.write_bytes(cv2.imencode(".png", image[..., ::-1])[1].tobytes())


def blocks(height, width, boxes):
    image = np.full((height, width, 3), 90, np.uint8)
    for name, (x1, y1, x2, y2) in boxes:
        image[y1:y2, x1:x2] = COLORS[name]
    return image


BOXES = [  # within a tile, on a border, on a corner, larger than the overlap, of two tiles, at the image's edge
    ("red", (20, 30, 60, 55)),
    ("green", (145, 100, 175, 130)),
    ("red", (290, 140, 340, 180)),
    ("green", (210, 20, 450, 60)),
    ("red", (460, 200, 500, 260)),
    ("green", (0, 280, 30, 300)),
]


def assert_boxes(records, boxes, atol):
    (record,) = records
    detections = sorted((one["class"], *one["box"]) for one in record["head"])
    assert len(detections) == len(boxes)
    for (name, *box), (expected_name, expected) in zip(detections, sorted(boxes), strict=True):
        assert name == expected_name
        np.testing.assert_allclose(box, expected, atol=atol)


@pytest.mark.parametrize("words", [[], ["tile=160"], ["tile=160", "flip=true"], ["flip=true"], ["tile=200", "batch=3"]])
def test_tiles_and_mirrored_views_give_the_boxes_of_the_whole(using, tmp_path, words):
    network = using(blocks_as_objects, "detection")
    save(tmp_path / "big.png", blocks(300, 500, BOXES))
    records = run("source=big.png", *words)
    # a tile of 160 pixels is seen at its own size
    assert_boxes(records, BOXES, 0.01 if "tile=160" in words else 4)
    assert records[0]["size"] == [300, 500] and {shape[1:] for shape in network.shapes} == {(*SIZE, 3)}
    assert len({shape[0] for shape in network.shapes}) == 1  # one shape, compiled once


def test_small_objects_are_detected_in_tiles_only(using, tmp_path):
    using(blocks_as_objects, "detection")
    rng, boxes = np.random.default_rng(0), []
    for row in range(5):
        for column in range(8):
            x, y = 200 * column + int(rng.integers(0, 180)), 200 * row + int(rng.integers(0, 180))
            boxes.append(("red" if (row + column) % 2 else "green", (x, y, x + 12, y + 10)))
    save(tmp_path / "big.png", blocks(1000, 1600, boxes))
    assert_boxes(run("source=big.png", "tile=160"), boxes, 0.01)


def test_segmentation_is_averaged_over_tiles_and_mirrored_back(using, tmp_path):
    using(likely_classes, "segmentation")
    save(tmp_path / "big.png", blocks(300, 500, BOXES))
    expected = np.zeros((300, 500), np.uint8)
    for name, (x1, y1, x2, y2) in BOXES:
        expected[y1:y2, x1:x2] = 1 + list(COLORS).index(name)
    for words in (["tile=160"], ["tile=160", "flip=true"]):
        (record,) = run("source=big.png", *words, recipe="unet_seg")
        mask = cv2.imread(f"predictions/{record['head']['mask']}", cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(mask, expected)
    (record,) = run("source=big.png", "flip=true", recipe="unet_seg")
    mask = cv2.imread(f"predictions/{record['head']['mask']}", cv2.IMREAD_UNCHANGED)
    assert (mask == expected).mean() > 0.98


def test_maps_of_a_head_without_keypoints_are_refused(using, tmp_path):
    using(blocks_as_objects, "detection")
    save(tmp_path / "a.png", blocks(60, 60, [("red", (0, 0, 30, 30))]))
    with pytest.raises(UserError, match="^maps: no head of this model predicts keypoints"):
        run("source=a.png", "maps=true")


def test_classification_is_the_mean_of_both_directions(using, tmp_path):
    using(left_is_red, "classification")
    save(tmp_path / "a.png", blocks(160, 160, [("red", (0, 0, 80, 160)), ("green", (80, 0, 160, 160))]))
    (record,) = run("source=a.png", recipe="imagenet")
    assert {one["name"]: one["score"] for one in record["head"]}["red"] == pytest.approx(230 / 255)
    (record,) = run("source=a.png", "flip=true", recipe="imagenet")
    scores = {one["name"]: one["score"] for one in record["head"]}
    assert scores == pytest.approx({"red": (230 + 30) / 510, "green": (30 + 200) / 510}, rel=1e-4)
    with pytest.raises(UserError, match="tile: head 'head' predicts for the whole image"):
        run("source=a.png", "tile=100", recipe="imagenet")


def test_images_come_back_in_order_and_broken_ones_are_left_out(using, tmp_path, capsys):
    network = using(blocks_as_objects, "detection")
    (tmp_path / "many").mkdir()
    for number in range(7):
        size = (90 + 40 * number, 200)
        save(tmp_path / "many" / f"{number}.png", blocks(*size, [("red", (10 * number, 10, 10 * number + 40, 50))]))
    (tmp_path / "many" / "3b.png").write_bytes(b"no image")
    records = run("source=many", "tile=160", "batch=4")
    assert [record["path"].rsplit("/", 1)[-1] for record in records] == [f"{number}.png" for number in range(7)]
    for number, record in enumerate(records):
        (one,) = record["head"]
        np.testing.assert_allclose(one["box"], [10 * number, 10, 10 * number + 40, 50], atol=2.5)
    assert {shape[0] for shape in network.shapes} == {4}
    printed = capsys.readouterr().out
    assert "3b.png" in printed and "7 images" in printed


def test_a_second_time_the_results_go_to_a_new_folder_and_are_no_source(using, tmp_path, capsys):
    using(blocks_as_objects, "detection")
    save(tmp_path / "a.png", blocks(160, 160, [("red", (20, 30, 60, 55))]))
    for out in ("predictions", "predictions_2", "predictions_3"):
        assert predict.predict(["recipe=ssd_det", "source=."]) == 0
        assert [one["path"] for one in json.loads((tmp_path / out / "predictions.json").read_text())] == ["a.png"]
        assert f"1 images: {out}/predictions.json" in capsys.readouterr().out
    assert len(run("source=**/*.png")) == 1
    with pytest.raises(DataError, match="no image at 'predictions_2'.*Folders of results"):
        run("source=predictions_2")


def test_existing_results_are_not_replaced(using, tmp_path):
    using(blocks_as_objects, "detection")
    (tmp_path / "mine").mkdir()
    save(tmp_path / "mine" / "a.png", blocks(160, 160, [("red", (20, 30, 60, 55))]))
    before = (tmp_path / "mine" / "a.png").read_bytes()
    (tmp_path / "file").write_text("")
    for out, what in (("mine", "not empty"), (".", "not empty"), ("file", "a file"), ("mine/a.png", "a file")):
        with pytest.raises(UserError, match=f"out: {out} is {what}"):
            run("source=mine", f"out={out}")
    assert (tmp_path / "mine" / "a.png").read_bytes() == before
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["a.png"]
    assert predict.predict(["recipe=ssd_det", "source=mine", "out=mine/new"]) == 0
    with pytest.raises(UserError, match=r"out: mine/new is not empty \(a.png, predictions.json\)"):
        predict.predict(["recipe=ssd_det", "source=mine", "out=mine/new"])


def test_heads_keep_their_keys_and_files_apart(using, tmp_path):
    """Two heads of one task, of names that are no file's, and images whose names meet theirs."""
    network = using(likely_classes, "segmentation")
    (head,) = network.heads.values()
    network.heads = {"a/b": head, "a_b": head, "../up": head}
    network.by_head = lambda outputs: dict.fromkeys(network.heads, outputs)
    for name in ("x.png", "x.jpg", "x_a_b_mask.png"):
        save(tmp_path / name, blocks(160, 160, [("red", (20, 30, 60, 55))]))
    records = run("source=x*", recipe="unet_seg")
    masks = [record[name]["mask"] for record in records for name in network.heads]
    assert len(set(masks)) == 9 and all((tmp_path / "predictions" / mask).is_file() for mask in masks)
    assert len(list((tmp_path / "predictions").glob("*.png"))) == 12 and len(list(tmp_path.glob("*.png"))) == 2


def test_the_predictor_gives_what_the_command_writes(using, tmp_path):
    network = using(blocks_as_objects, "detection")
    for number in range(3):
        save(tmp_path / f"{number}.png", blocks(200 + 40 * number, 300, BOXES[: number + 1]))
    files = sorted(tmp_path.glob("*.png"))
    options = dict(tile=160, flip=True, batch=4)
    records = run(f"source={tmp_path}/*.png", *(f"{key}={value}".lower() for key, value in options.items()))
    predictions = Predictor(network)(files, **options)
    assert [one.to_json()["head"] for one in predictions] == [record["head"] for record in records]
    for prediction, file in zip(predictions, files, strict=True):
        drawn = cv2.imread(f"predictions/{file.name}")[..., ::-1]
        np.testing.assert_array_equal(prediction.draw(), drawn)


def raising(answer, at, *numbers):
    """An answer during which signals come, at the image of a number."""
    count = iter(range(1000))

    def raises(canvas):
        if next(count) == at:
            for number in numbers:
                signal.raise_signal(number)
        return answer(canvas)

    return raises


def left(folder="predictions"):
    """(the records, the drawings, whether the folder says that it is incomplete), and no file that is half-written."""
    names = {path.name for path in Path(folder).iterdir()}
    records = json.loads(Path(folder, "predictions.json").read_text()) if "predictions.json" in names else None
    assert not [name for name in names if name.startswith(".writing")]
    drawn = [cv2.imread(f"{folder}/{name}").shape for name in names if name.endswith(".png")]
    text = Path(folder, "incomplete.txt").read_text() if "incomplete.txt" in names else ""
    return records, drawn, text


def test_item_92_a_stop_leaves_the_predictions_so_far_and_says_so(using, tmp_path, capsys):
    (tmp_path / "many").mkdir()
    for number in range(5):
        save(tmp_path / "many" / f"{number}.png", blocks(160, 160, [("red", (20, 30, 60, 55))]))
    using(raising(blocks_as_objects, 2, signal.SIGTERM), "detection")
    with pytest.raises(Stopped, match="SIGTERM"):
        predict.predict(["recipe=ssd_det", "source=many", "batch=1"])
    records, drawn, text = left()
    assert [one["path"] for one in records] == [f"many/{number}.png" for number in range(3)] and len(drawn) == 3
    said = "predict ended before the last image: predictions.json holds 3 of 5 images"
    assert text == said + "\n" and said in capsys.readouterr().out
    using(raising(blocks_as_objects, 2, signal.SIGINT, signal.SIGINT), "detection")
    with pytest.raises(KeyboardInterrupt):
        predict.predict(["recipe=ssd_det", "source=many", "batch=1"])
    records, drawn, text = left("predictions_2")
    assert records is None and len(drawn) == 2 and not text
    assert predict.predict(["recipe=ssd_det", "source=many", "batch=1"]) == 0
    records, drawn, text = left("predictions_3")
    assert len(records) == len(drawn) == 5 and not text


def test_an_error_leaves_the_predictions_so_far(using, tmp_path):
    for number in range(3):
        save(tmp_path / f"{number}.png", blocks(160, 160, [("red", (20, 30, 60, 55))]))
    count = iter(range(9))
    using(lambda canvas: blocks_as_objects(canvas if next(count) < 2 else None), "detection")
    with pytest.raises(AttributeError):
        predict.predict(["recipe=ssd_det", "source=.", "batch=1"])
    records, drawn, text = left()
    assert len(records) == len(drawn) == 2 and "2 of 3 images" in text


# videos


@pytest.fixture
def clip(tmp_path):
    """Ten frames in which a block moves by eight pixels a frame."""
    path = tmp_path / "a clip é.mp4"
    with VideoWriter(path, 10.0) as writer:
        for number in range(10):
            writer.write(blocks(120, 176, [("red", (8 * number, 40, 8 * number + 48, 88))]))
    return path


@pytest.mark.parametrize("words", [[], ["flip=true"], ["tile=160"], ["batch=3"]])
def test_every_frame_of_a_video_is_answered(using, clip, words):
    using(blocks_as_objects, "detection")
    records = run(f"source={clip}", *words)
    assert [record["frame"] for record in records] == list(range(10))
    assert [record["seconds"] for record in records] == pytest.approx(np.arange(10) / 10)
    for number, record in enumerate(records):
        assert record["path"] == str(clip) and record["size"] == [120, 176]
        (one,) = record["head"]
        np.testing.assert_allclose(one["box"], [8 * number, 40, 8 * number + 48, 88], atol=3)
    drawn = list(Video(f"predictions/{clip.name}"))
    assert len(drawn) == 10 and Video(f"predictions/{clip.name}").fps == pytest.approx(10)
    # twice as large as it came, for it is smaller than what is drawn at least; the box's outline is there
    assert drawn[0].shape[1] == 352 and drawn[0].shape[0] >= 240
    assert (np.abs(drawn[5].astype(int) - COLORS["red"]) < 60).all(axis=-1).sum() > 3000


def test_a_glob_of_videos_predicts_for_each(using, tmp_path):
    using(blocks_as_objects, "detection")
    starts = {"clips/b.mp4": 0, "clips/a.mp4": 40, "clips/more/a.mp4": 80}
    for name, left in starts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        with VideoWriter(tmp_path / name, 10.0) as writer:
            for number in range(3):
                writer.write(blocks(120, 176, [("red", (left + 8 * number, 40, left + 8 * number + 48, 88))]))
    (tmp_path / "clips" / "c.png").write_bytes(b"none of them")
    for source, expected in {
        "clips/*.mp4": ["clips/a.mp4", "clips/b.mp4"],
        "clips/[b-c].mp4": ["clips/b.mp4"],
        "clips/**/*.mp4": ["clips/a.mp4", "clips/b.mp4", "clips/more/a.mp4"],
    }.items():
        records = run(f"source={source}")
        assert [(one["path"], one["frame"]) for one in records] == [(name, i) for name in expected for i in range(3)]
        for record in records:
            left = starts[record["path"]] + 8 * record["frame"]
            np.testing.assert_allclose(record["head"][0]["box"], [left, 40, left + 48, 88], atol=3)
    # of two with one name each is drawn
    for name in ("a", "b", "a_2"):
        assert len(list(Video(f"predictions/{name}.mp4"))) == 3
    with pytest.raises(DataError, match=r"the file 'clips/z\*\.mp4' does not exist"):
        run("source=clips/z*.mp4")


def test_a_folder_named_like_a_video_is_a_folder(using, tmp_path):
    using(blocks_as_objects, "detection")
    (tmp_path / "frames.mp4").mkdir()
    save(tmp_path / "frames.mp4" / "a.png", blocks(160, 160, [("red", (20, 30, 60, 55))]))
    assert_boxes(run("source=frames.mp4"), [("red", (20, 30, 60, 55))], 0.01)


def test_item_92_a_stop_within_a_video_leaves_the_frames_so_far(using, clip):
    using(raising(blocks_as_objects, 4, signal.SIGHUP), "detection")
    with pytest.raises(Stopped):
        predict.predict(["recipe=ssd_det", f"source={clip}", "batch=1"])
    records, _, text = left()
    assert len(records) == len(list(Video(f"predictions/{clip.name}"))) == 5 and "5 frames" in text
    using(raising(blocks_as_objects, 4, signal.SIGHUP, signal.SIGHUP), "detection")
    with pytest.raises(KeyboardInterrupt):
        predict.predict(["recipe=ssd_det", f"source={clip}", "batch=1"])
    assert left("predictions_2") == (None, [], "") and not list(Path("predictions_2").glob("*.mp4"))


def test_masks_of_frames_have_names_of_their_own(using, clip):
    using(likely_classes, "segmentation")
    records = run(f"source={clip}", recipe="unet_seg")
    names = [record["head"]["mask"] for record in records]
    assert len(set(names)) == 10 and names[3].endswith("_000003_head_mask.png")


def test_a_video_without_frames_is_an_error_that_names_it(using, tmp_path, clip):
    using(blocks_as_objects, "detection")
    cases = {"empty.mp4": b"", "broken.mp4": b"\x00\x01" * 500, "cut.mp4": clip.read_bytes()[:200]}
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match=name):
            run(f"source={name}")
    with pytest.raises(DataError, match="none.avi"):
        run("source=none.avi")


def test_a_video_that_ends_early_says_so(using, clip, tmp_path, capsys, monkeypatch):
    using(blocks_as_objects, "detection")
    real = Video.__init__

    def claims_twelve(self, path):
        real(self, path)
        self.count = 12

    monkeypatch.setattr(Video, "__init__", claims_twelve)
    assert len(run(f"source={clip}")) == 10
    assert "10 of 12 frames could be read" in capsys.readouterr().out


def test_a_video_is_not_overwritten_by_its_own_drawing(using, clip):
    using(blocks_as_objects, "detection")
    before = clip.read_bytes()
    with pytest.raises(UserError, match="is not empty"):
        run(f"source={clip}", f"out={clip.parent}")
    assert clip.read_bytes() == before


def test_no_more_than_a_batch_of_frames_is_held(clip):
    network, alive, most = Network(blocks_as_objects, "detection"), [], 0

    def samples():
        for frame in Video(clip):
            alive.append(1)
            yield Sample(frame)

    for _ in Predictor(network, Preprocess(SIZE)).stream(samples(), batch=4, flip=True):
        most = max(most, len(alive))
        alive.pop()
    assert most <= 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tile=0"], "tile: expected a whole number"),
        (["tile=many"], "tile: expected a whole number"),
        (["overlap=0.3"], "overlap: the overlap of tiles"),
        (["tile=100", "overlap=1"], "overlap: expected a share"),
        (["tile=100", "overlap=some"], "overlap: expected a share"),
        (["flip=yes"], "flip: expected true or false"),
    ],
)
def test_wrong_words_are_refused(using, words, message):
    using(blocks_as_objects, "detection")
    with pytest.raises(UserError, match=message):
        run("source=.", *words)


@pytest.mark.parametrize("word", ["tile=100", "flip=true"])
def test_a_task_that_merges_nothing_is_refused_before_the_first_image(using, tmp_path, monkeypatch, word):
    network = using(blocks_as_objects, "detection")
    monkeypatch.delattr(Detection, "merge")
    save(tmp_path / "a.png", blocks(200, 200, []))
    with pytest.raises(UserError, match=f"{word.split('=')[0]}: several predictions of head 'head' cannot be merged"):
        run("source=a.png", word)
    assert not network.shapes


def test_masks_are_run_lengths_or_polygons(using, tmp_path):
    using(blocks_as_instances, "instances")
    save(tmp_path / "a.png", blocks(160, 160, [("red", (20, 30, 60, 54))]))
    (as_runs,), (as_polygons,) = (run("source=a.png", *words) for words in ([], ["polygons=true"]))
    (runs,), (polygons,) = (one["head"]["objects"] for one in (as_runs, as_polygons))
    pixels = coco_mask.decode(runs["mask"])
    assert 0.95 * 20 * 24 < pixels.sum() == pixels[30:54, 20:40].sum()
    again = coco_mask.merge(coco_mask.frPyObjects(polygons.pop("mask"), 160, 160))
    np.testing.assert_array_equal(coco_mask.decode(again), pixels)
    assert polygons == {key: value for key, value in runs.items() if key != "mask"}
    using(blocks_as_objects, "detection")
    with pytest.raises(UserError, match="polygons: no head of this model predicts masks of objects"):
        run("source=a.png", "polygons=true")


def test_usage_says_every_word():
    for word in predict.WORDS:
        assert f"{word}=" in predict.USAGE


def test_items_87_and_89_names_of_any_length_and_bytes(using, tmp_path):
    using(likely_classes, "segmentation")
    for name in ("n" * 250, "n" * 249 + "m", "ü" * 124, os.fsdecode(b"a\xff")):
        save(tmp_path / f"{name}.png", blocks(20, 20, []))
    records = run("source=*.png", recipe="unet_seg")
    assert {record["path"] for record in records} == {path.name for path in tmp_path.glob("*.png")}
    assert len({record["head"]["mask"] for record in records}) == 4
    for record in records:
        assert (tmp_path / "predictions" / record["head"]["mask"]).is_file()


def test_a_disk_that_is_full_at_the_last_record_is_said_beside_the_predictions(tmp_path, monkeypatch, capsys):
    writer = predict._Writer(tmp_path, None, standard_streams.console(), None, total=3)

    def full(*_):
        writer._records.path.write_text("[]")
        raise UserError("cannot write", "out")

    monkeypatch.setattr(writer._records, "__exit__", full)
    with pytest.raises(UserError, match="cannot write"), writer:
        pass
    assert "predictions.json holds 0 of 3 images" in (tmp_path / "incomplete.txt").read_text()
