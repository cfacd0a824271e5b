"""Which run goes on, and with what it does not."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from blocks import Blocks

from visiontasks import build, runs, train
from visiontasks.data.pipeline import Loader
from visiontasks.errors import UserError
from visiontasks.training.run_directory import RunDirectory

WORDS = ["train.epochs=3", "data.train.count=8", "data.val.count=8", "data.batch=4"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of unet_seg that was stopped, in the folder runs of the working directory."""
    monkeypatch.chdir(tmp_path)
    recipe, _ = build.recipe("unet_seg", WORDS)
    run = RunDirectory.create(tmp_path / "runs", "unet_seg")
    run.recipe.write_text(recipe.to_yaml(), encoding="utf-8")
    run.states.write({}, [])
    return run


@pytest.mark.parametrize(
    "words",
    [
        ("true", None, []),
        ("true", "unet_seg", WORDS),
        ("runs", None, ["data.workers=0"]),
        ("runs/unet_seg", "unet_seg", [*WORDS, "train.save_minutes=3"]),
    ],
)
def test_the_run_that_is_meant(run, words):
    found, recipe = runs.resumed(*words, None)
    assert found.path.resolve() == run.path and recipe.train.epochs == 3 and recipe.name == "unet_seg"


def test_another_recipe_is_named(run):
    with pytest.raises(UserError, match=r"resume: .*train.epochs is 3, asked for is 5.*start a new run"):
        runs.resumed("runs", None, ["train.epochs=5"], None)
    with pytest.raises(UserError, match=r"resume: .*data.batch is 4, asked for is 8"):
        runs.resumed("true", "unet_seg", [], None)


def test_another_folder_than_the_run_s_is_an_error(run):
    with pytest.raises(UserError, match=r"^run.dir: resume=runs already says where the run is. Leave run.dir out"):
        runs.resumed("runs", None, ["run.dir=elsewhere"], None)
    assert runs.resumed("true", None, ["run.dir=runs"], None)[0].path.resolve() == run.path


def test_without_a_run_or_a_state(run):
    with pytest.raises(UserError, match=r"resume: nowhere is not a run"):
        runs.resumed("nowhere", None, [], None)
    for path in run.states.files:
        path.unlink()
    with pytest.raises(UserError, match=r"resume: .*has no saved state"):
        runs.resumed("runs", None, [], None)


def test_several_processes_go_on_with_the_run_that_the_launcher_chose(run, monkeypatch):
    """Each of them would choose by itself otherwise, and meanwhile another run may have begun."""
    started = []
    monkeypatch.setattr(
        "visiontasks.training.launching.launch", lambda count, words: started.append((count, words, run.held))
    )
    monkeypatch.setattr("visiontasks.training.processes.check_backend", lambda count: None)
    found = f"resume={Path('runs', 'unet_seg', run.path.name)}"
    train.train(["resume=true", "run.dir=runs", "data.workers=0", "processes=2"])
    train.train(["recipe=unet_seg", *WORDS, "run.dir=runs", "resume=true", "processes=2"])
    for (count, words, held), rest in zip(started, (["data.workers=0"], ["recipe=unet_seg", *WORDS]), strict=True):
        assert count == 2 and words[3:] == [*rest, found] and not held


@pytest.mark.skipif(sys.platform == "win32", reason="the lock is POSIX's")
def test_a_run_that_another_process_trains_is_left_alone(run):
    hold = "import sys; from visiontasks.training.run_directory import RunDirectory as R; run = R(sys.argv[1])"
    hold += "; print(run.hold(), flush=True); sys.stdin.read()"
    words = [sys.executable, "-c", hold, str(run.path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "True\n"
        assert run.held
        with pytest.raises(UserError, match=r"resume: another process is training .*unet_seg"):
            runs.resumed("runs", None, [], None)
        other.kill()  # the system lets go of it
    assert not run.held
    assert runs.resumed("runs", None, [], None)[0].path.resolve() == run.path


def test_data_and_classes_must_be_the_same(run, tmp_path):
    recipe, _ = build.recipe("unet_seg", WORDS)
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "1.jpg").write_text("1")
    recipe = recipe.replace(data=build.read("unet_seg", []).data)
    recipe.data.train["path"] = str(folder)
    loader = Loader(Blocks(), fields=("mask",), batch=4)
    made = runs.begin(recipe.replace(name="begun"), loader, runs.stamped(recipe))
    runs.check_same_data(made, recipe, loader, contents=True)
    (folder / "1.jpg").write_text("2")
    with pytest.raises(UserError, match=r"resume: the data of .* have changed since it began: .*1.jpg has changed"):
        runs.check_same_data(made, recipe, loader, contents=True)
    loader.names = {**loader.names, "mask": ("other",)}
    with pytest.raises(UserError, match=r"mask: \['.*'\], now \['other'\]"):
        runs.check_same_data(made, recipe, loader, contents=False)


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
@pytest.mark.parametrize(
    ("part", "change", "fact"),
    [("train", "longer", "training files"), ("val", "renamed", "validation files"), ("val", "copied", None)],
)
def test_what_processes_that_train_together_must_share(part, change, fact, tmp_path):
    recipe = build.read("unet_seg", [])
    for name in ("train", "val"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").write_text("1")
        getattr(recipe.data, name)["path"] = str(tmp_path / name)
    loader, shorter = (Loader(Blocks(count), fields=("mask",), batch=4) for count in (8, 4))
    before, file = runs.facts(recipe, loader, loader, None), tmp_path / part / "1.jpg"
    if change == "longer":
        file.write_text("12")
    elif change == "renamed":
        file.rename(file.with_name("2.jpg"))
    else:
        os.utime(file, (0, 0))
    now = runs.facts(recipe, loader, shorter, None)
    differ = {key for key in before if before[key] != now[key]}
    assert differ == {"number of validation images", fact} - {None}
    assert before["platform"] and before["version of JAX"]
