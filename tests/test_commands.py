"""The commands end to end, on small data made here: files written, words checked, Ctrl-C survived."""

import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time

import checkpoints
import cv2
import forked
import numpy as np
import pytest

from visiontasks.keras_backend import writes_events

TINY = [
    "recipe=unet_seg",
    "backbone.name=unet_encoder",
    "backbone.weights=null",
    "backbone.filters=4",
    "backbone.depth=3",
    "head={name: unet, filters: [8, 4]}",
    "data.size=[64, 64]",
    "data.batch=4",
    "train.epochs=2",
    "train.ema=0.5",
]


def command(name, *words, cwd, check=True):
    """What a command prints, in a process that need not import Keras."""
    done = forked.python("-m", f"visiontasks.{name}", *words, cwd=cwd)
    return succeeded(done) if check else done


def whole_command(name, *words, cwd):
    """What a command prints as a user starts it: that it is quiet while it imports Keras is seen here alone."""
    words = [sys.executable, "-m", f"visiontasks.{name}", *words]
    return succeeded(subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=600))


def succeeded(done):
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert not [line for line in done.stderr.splitlines() if "absl" in line or ".cc:" in line]
    return done


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder as a user has it: images/{train,val} and masks/{train,val}, images of several sizes."""
    root = tmp_path_factory.mktemp("my cells é")
    rng = np.random.default_rng(0)
    for part, count in (("train", 8), ("val", 5)):
        for kind in ("images", "masks"):
            (root / kind / part).mkdir(parents=True)
        for i in range(count):
            height, width = 60 + 7 * i, 80
            mask = np.zeros((height, width), np.uint8)
            cv2.circle(mask, (int(rng.integers(20, 60)), height // 2), 14, 1, -1)
            image = rng.integers(0, 80, (height, width, 3), dtype=np.uint8)
            image[mask == 1] += 120
            for kind, array in (("images", image), ("masks", mask)):
                path = root / kind / part / f"{part} {i}.png"
                path.write_bytes(cv2.imencode(".png", array)[1].tobytes())
    return root


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    """(where the commands ran, what training printed)."""
    cwd = tmp_path_factory.mktemp("work")
    return cwd, whole_command("train", *TINY, f"data={images}", cwd=cwd).stdout


def the_run(cwd):
    (run,) = (cwd / "runs" / "unet_seg").iterdir()
    return run


def test_train_reports_its_data_and_writes_a_run(trained):
    cwd, printed = trained
    assert "masks" in printed and "8 training images, 5 validation images" in printed and "epoch 2/2" in printed
    run = the_run(cwd)
    for name in ("recipe.yaml", "metrics.csv", "curves.png", "summary.json", "evaluation.json", "confusion.png"):
        assert (run / name).stat().st_size > 0, name
    assert {p.name for p in (run / "checkpoints").iterdir()} == {"best.keras", "last.keras"}
    assert writes_events() == any((run / "tensorboard").rglob("events.*"))
    assert len(list((run / "predictions").glob("*.jpg"))) == 5
    summary = json.loads((run / "summary.json").read_text())
    assert summary["epochs"] == 2 and 0 <= summary["metrics"]["mean_iou"] <= 1


def test_evaluate_gives_the_metrics_of_training(trained, images):
    cwd, _ = trained
    before = json.loads((the_run(cwd) / "evaluation.json").read_text())
    whole_command("evaluate", "run=runs", "out=again", cwd=cwd)
    assert json.loads((cwd / "again" / "evaluation.json").read_text()) == pytest.approx(before)
    command("evaluate", "run=runs", f"data={images}", "out=own", cwd=cwd)
    assert json.loads((cwd / "own" / "evaluation.json").read_text()) == pytest.approx(before)


def test_evaluate_takes_a_folder_of_few_images_without_parts(trained, tmp_path):
    """Fewer than a batch, no validation set, and masks of other values: each is scored once, none is a leak."""
    cwd, _ = trained
    before = (the_run(cwd) / "evaluation.json").read_bytes()
    for kind in ("images", "masks"):
        (tmp_path / "few" / kind).mkdir(parents=True)
    mask = np.zeros((50, 60), np.uint8)
    mask[10:30, 20:40] = 255
    for i in range(2):
        cv2.imwrite(str(tmp_path / "few" / "images" / f"{i} [b].png"), np.stack([mask // (i + 2)] * 3, -1))
        cv2.imwrite(str(tmp_path / "few" / "masks" / f"{i} [b].png"), mask)
    words = ["evaluate", "run=runs", f"data={tmp_path / 'few'}"]
    refused = command(*words, cwd=cwd, check=False)
    assert refused.returncode == 2 and "data.train.values=[0,255]" in refused.stderr
    printed = command(*words, "data.train.values=[0,255]", cwd=cwd).stdout
    assert "2 images" in printed and "trained on" not in printed
    found = the_run(cwd) / "evaluations" / "few_data.train.values=_0,255"
    assert len(list((found / "predictions").glob("*.jpg"))) == 2
    assert 0 <= json.loads((found / "evaluation.json").read_text())["mean_iou"] <= 1
    assert (the_run(cwd) / "evaluation.json").read_bytes() == before
    # with a validation set the values of the training set hold for both
    for kind in ("images", "masks"):
        for part in ("train", "val"):
            (tmp_path / "parts" / kind / part).mkdir(parents=True)
            image = next((tmp_path / "few" / kind).iterdir())
            (tmp_path / "parts" / kind / part / image.name).write_bytes(image.read_bytes())
    printed = command("evaluate", "run=runs", f"data={tmp_path / 'parts'}", "data.train.values=[0,255]", cwd=cwd).stdout
    assert "1 images" in printed
    wrong = command("evaluate", "run=runs", "train.epochs=3", cwd=cwd, check=False)
    assert wrong.returncode == 2 and "train.epochs: unknown key" in wrong.stderr
    wrong = command("evaluate", "run=runs", "data.size=[96,64]", cwd=cwd, check=False)
    assert wrong.returncode == 2 and "error: data.size: expected [64, 64], the size that" in wrong.stderr


def test_evaluate_says_how_many_images_the_run_trained_on(trained, images, tmp_path):
    cwd, printed = trained
    assert len((the_run(cwd) / "trained_on.txt").read_text().split()) == 8 and "trained on" not in printed
    for kind in ("images", "masks"):
        (tmp_path / "mixed" / kind).mkdir(parents=True)
        for part, count in (("train", 4), ("val", 2)):
            for i in range(count):
                image = images / kind / part / f"{part} {i}.png"
                (tmp_path / "mixed" / kind / f"{i} of {part}.png").write_bytes(image.read_bytes())
    printed = command("evaluate", "run=runs", f"data={tmp_path / 'mixed'}", cwd=cwd).stdout
    assert "4 of 6 images are among those that the run trained on" in printed and "split=val" in printed
    assert "1 images" in command("evaluate", "run=runs", f"data={tmp_path / 'mixed'}", "split=val", cwd=cwd).stdout
    assert {path.name for path in (the_run(cwd) / "evaluations").iterdir()} >= {"mixed", "mixed_split=val"}


def test_evaluate_on_other_data_leaves_the_run_s_own_metrics_alone(trained):
    cwd, _ = trained
    own = (the_run(cwd) / "evaluation.json").read_bytes()
    command("evaluate", "run=runs", "data.resize=letterbox", cwd=cwd)
    found = the_run(cwd) / "evaluations" / "data.resize=letterbox" / "evaluation.json"
    assert found.read_bytes() != own
    assert (the_run(cwd) / "evaluation.json").read_bytes() == own


def test_init_starts_from_a_run_and_what_it_began_needs_it_no_more(trained, images, tmp_path):
    """Of the run's best checkpoint a half is left: the last one is taken. Then the whole run is gone."""
    cwd, _ = trained
    first = shutil.copytree(the_run(cwd), tmp_path / "first")
    best = first / "checkpoints" / "best.keras"
    best.write_bytes(best.read_bytes()[:3000])
    words = [*TINY, f"data={images}", f"init={first}", "head={name: unet, filters: [8, 4], dropout: 0.1}"]
    done = command("train", *words, "train.epochs=1", "train.deterministic=true", cwd=tmp_path)
    assert "best.keras cannot be used" in done.stderr and "last.keras is used" in done.stderr
    assert "last.keras (moving averages of the weights, ema=0.5):" in done.stdout
    assert re.search(r"backbone: [\d,]+ parameters loaded\n +head unet: [\d,]+ parameters loaded", done.stdout)
    run, last = the_run(tmp_path), first / "checkpoints" / "last.keras"
    began = {"path": str(last.resolve()), "sha256": hashlib.sha256(last.read_bytes()).hexdigest()}
    assert f"init: {began['path']}\n" in (run / "recipe.yaml").read_text()
    summary = json.loads((run / "summary.json").read_text())
    assert summary["init"] == began
    shutil.rmtree(first)
    (run / "summary.json").write_text(json.dumps({"init": began}))  # as after a kill in the final evaluation
    again = command("train", f"resume={run}", cwd=tmp_path)
    after = json.loads((run / "summary.json").read_text())
    assert "parameters loaded" not in again.stdout and after["metrics"] == summary["metrics"] and after["init"] == began


def test_predict_takes_the_last_checkpoint_where_the_best_is_damaged(trained, images, tmp_path):
    run = shutil.copytree(the_run(trained[0]), tmp_path / "run")
    checkpoints.damage(run / "checkpoints" / "best.keras", "other zip")
    done = command("predict", f"run={run}", f"source={images / 'images' / 'val'}", cwd=tmp_path)
    assert "best.keras cannot be used: it has no config.json" in done.stderr and "checkpoint: " in done.stdout
    checkpoints.damage(run / "checkpoints" / "last.keras", "empty")
    done = command("predict", f"run={run}", f"source={images / 'images' / 'val'}", cwd=tmp_path, check=False)
    assert done.returncode == 2 and "error: run: " in done.stderr and "Traceback" not in done.stderr


def test_predict_refuses_overrides_of_a_run(trained):
    cwd, _ = trained
    done = command("predict", "run=runs", "source=.", "backbone.name=resnet50", cwd=cwd, check=False)
    assert done.returncode == 2 and "backbone.name=resnet50" in done.stderr and "Traceback" not in done.stderr


def test_predict_writes_images_masks_and_json_in_original_pixels(trained, images):
    cwd, _ = trained
    (images / "images" / "val" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no image")
    done = whole_command("predict", "run=runs", f"source={images / 'images' / 'val'}", cwd=cwd)
    (images / "images" / "val" / "broken.jpg").unlink()
    assert "broken.jpg" in done.stdout
    records = json.loads((cwd / "predictions" / "predictions.json").read_text())
    assert len(records) == 5
    for record in records:
        image = cv2.imdecode(np.fromfile(record["path"], np.uint8), cv2.IMREAD_COLOR)
        assert record["size"] == list(image.shape[:2])
        found = record["unet"]
        mask = cv2.imread(str(cwd / "predictions" / found["mask"]), cv2.IMREAD_UNCHANGED)
        assert list(mask.shape) == record["size"] and mask.max() <= 1
        assert sum(found["classes"].values()) == pytest.approx(1)
        for name, share in found["classes"].items():
            assert share == pytest.approx((mask == int(name)).mean(), abs=1e-6)


def test_predict_imagenet_predicts_without_training(tmp_path):
    image = np.full((100, 150, 3), 127, np.uint8)
    cv2.imwrite(str(tmp_path / "gray.JPG"), image)
    command("predict", "recipe=imagenet", "source=*.JPG", cwd=tmp_path)
    (record,) = json.loads((tmp_path / "predictions" / "predictions.json").read_text())
    best = record["classifier"]
    assert len(best) == 5 and [b["score"] for b in best] == sorted((b["score"] for b in best), reverse=True)
    assert (tmp_path / "predictions" / "gray.png").is_file()


def test_dry_run_draws_a_batch_and_stops(images, tmp_path):
    printed = command("train", *TINY, f"data={images}", "dry_run=true", cwd=tmp_path).stdout
    for text in ("parameters", "MiB", "C0", "image uint8 (4, 64, 64, 3)", "filters: 4"):
        assert text in printed
    (drawn,) = re.findall(r"with its labels: (.*batch\.png)", printed)
    assert cv2.imread(drawn) is not None
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["data.batch=100"], "100"),  # item 59: batch larger than the data
        (["train.devices=gpu"], "train.devices"),  # item 60
        (["head={name: tagger}"], "Choose a recipe"),
        (["head={name: unet, filters: [8, 4], dropout: 1.5}"], "head."),
        (["head={name: unet, filters: [8, 4, 2]}"], "filters: expected 2"),
        (["data.augment=[{HorizontalFlip: {p: 2}}]"], "HorizontalFlip"),
        (["train.clip_norm=1", "train.optimizer.clipnorm=1"], "train.optimizer"),
    ],
)
def test_what_cannot_work_is_one_error_before_training(words, says, images, tmp_path):
    done = command("train", *TINY, f"data={images}", *words, cwd=tmp_path, check=False)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2 and len(errors) == 1 and "Traceback" not in done.stderr
    assert says in errors[0]
    assert not (tmp_path / "runs").exists()


def test_an_untrained_recipe_cannot_predict(tmp_path):
    (tmp_path / "x.png").write_bytes(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    done = command("predict", "recipe=unet_seg", "source=x.png", cwd=tmp_path, check=False)
    assert done.returncode == 2 and "train" in done.stderr.lower()


def test_a_stop_in_the_second_stage_leaves_a_usable_checkpoint_and_says_where(images, tmp_path):
    words = [*TINY, f"data={images}", "train.epochs=100000", "train.precision=float32", "train.freeze={epochs: 1}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "visiontasks.train", *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 300
        while not list(tmp_path.glob("runs/*/*/metrics.csv")) and time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()
            time.sleep(0.2)
        time.sleep(1)  # the second stage compiles
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, out[-2000:] + err[-2000:]
    assert "last.keras" in out and "Traceback" not in err
    (run,) = tmp_path.glob("runs/*/*")
    assert json.loads((run / "summary.json").read_text())["interrupted"] is True
    assert len({line.count(",") for line in (run / "metrics.csv").read_text().splitlines()}) == 1
    (tmp_path / "x.png").write_bytes(cv2.imencode(".png", np.zeros((70, 80, 3), np.uint8))[1].tobytes())
    command("predict", "run=runs", "source=x.png", cwd=tmp_path)


def test_a_stop_file_that_is_there_stops_training_before_it_begins(images, tmp_path):
    (tmp_path / "notice").touch()
    done = command("train", *TINY, f"data={images}", "train.stop_file=notice", cwd=tmp_path, check=False)
    assert done.returncode == 130 and done.stderr == "stopped by the stop file notice\n"
    assert not (tmp_path / "runs").exists()


def test_two_devices_share_a_batch(images, tmp_path):
    """MirroredStrategy over two logical CPUs."""
    code = (
        "import sys, tensorflow as tf\n"
        "cpu = tf.config.list_physical_devices('CPU')[0]\n"
        "tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)\n"
        "from visiontasks.train import main\n"
        "main(sys.argv[1:])\n"
    )
    words = [*TINY, f"data={images}", "train.devices=all"]
    done = forked.python("-c", code, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    (run,) = tmp_path.glob("runs/*/*")
    assert json.loads((run / "summary.json").read_text())["epochs"] == 2
    uneven = forked.python("-c", code, *words, "data.batch=3", cwd=tmp_path)
    assert uneven.returncode == 2 and "data.batch" in uneven.stderr
