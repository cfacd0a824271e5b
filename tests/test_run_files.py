"""`check run=RUN`: what is damaged in a run's folder is named, each kind of damage in each kind of file."""

import json
import shutil
import sys
import zipfile

import blocks
import checkpoints
import numpy as np
import pytest

from visiontasks import run_files
from visiontasks.check import check_command
from visiontasks.data.stamps import write_stamps
from visiontasks.errors import UserError
from visiontasks.keras_backend import writes_events
from visiontasks.recipe.schema import DataRecipe, Recipe, TrainRecipe
from visiontasks.run_files import DAMAGED, NOTE, OK, RunFiles, run_at
from visiontasks.training import generations
from visiontasks.training.run_directory import RunDirectory
from visiontasks.writing import temporary_of


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of three epochs that was stopped in its final evaluation."""
    run, _ = blocks.run(tmp_path_factory.mktemp("runs"), blocks.classifier(), TrainRecipe(epochs=3, save_minutes=0))
    recipe = Recipe({"name": "unet_encoder"}, head={"name": "classifier"}, data=DataRecipe(size=(32, 32)))
    run.recipe.write_text(recipe.to_yaml(), encoding="utf-8")
    write_stamps(run.data, {"photo.jpg": [3, 4, "a" * 32]}, {"label": ["a", "b"]})
    run.trained_on.write_text("0123456789abcdef" * 2 + "\n")
    run.summary.write_text('{"recipe": "test"}')
    return run


@pytest.fixture
def run(whole, tmp_path):
    return RunDirectory(shutil.copytree(whole.path, tmp_path / "run"))


def statuses(run):
    return {line.name: (line.status, line.text) for line in RunFiles(run).lines}


def test_a_whole_run_is_clean(run, capsys):
    found = RunFiles(run)
    assert {line.status for line in found.lines} == {OK} and found.exit_code == 0
    names = [line.name for line in found.lines]
    expected = ["recipe.yaml", "state/8.state", "state/9.state", "checkpoints/best.keras", "checkpoints/last.keras"]
    expected += ["metrics.csv", "learning_rate.csv", "data.json", "summary.json", "trained_on.txt"]
    assert names[: len(expected)] == expected and ("tensorboard" in names) == writes_events() and names[-1] == "images"
    assert found.resume == f"can be resumed (resume={run.path}) at epoch 4, after its step 0"
    assert check_command([f"run={run.path.parent}", "json=true"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "ok"


# of files without a checksum a flipped byte may be another valid text
CHECKED = ["state/9.state", "checkpoints/best.keras", "checkpoints/last.keras"]
TEXTS = ["recipe.yaml", "metrics.csv", "learning_rate.csv", "data.json", "summary.json", "trained_on.txt", "curves.png"]
CASES = [(name, fault) for name in CHECKED for fault in (*checkpoints.FAULTS, "missing")]
CASES += [(name, fault) for name in TEXTS for fault in ("empty", "other zip", "no zip")]
CASES += [(name, "missing") for name in ("recipe.yaml", "metrics.csv", "learning_rate.csv", "data.json")]


@pytest.mark.parametrize(("name", "fault"), CASES)
def test_each_damage_is_named_and_nothing_else(run, name, fault, capsys):
    path = run.path / name
    if fault == "missing":
        path.unlink()
    elif fault == "flipped" and path.suffix == ".state":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif fault == "flipped":
        content = bytearray(path.read_bytes())
        content[2 * len(content) // 3] ^= 1
        path.write_bytes(content)
    else:
        checkpoints.damage(path, fault)
    code = check_command([f"run={run.path}"])
    damaged = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines() if f"  {DAMAGED}  " in line]
    if (name, fault) == ("state/9.state", "missing"):  # the one before is whole, and older than the checkpoints
        assert code == 0 and not damaged
    else:
        assert code == 1 and damaged == [name]


@pytest.mark.skipif(not writes_events(), reason="no TensorBoard here")
def test_events_are_checked_record_by_record(run):
    (path,) = (run.events / "train").iterdir()
    whole, name = path.read_bytes(), f"tensorboard/train/{path.name}"
    path.write_bytes(whole[:-5])
    status, text = statuses(run)[name]
    assert status == NOTE and "cut off" in text
    for place in range(0, len(whole), 5):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        status, text = statuses_of_events(run)[name]
        assert status == DAMAGED and "checksum of record" in text


def statuses_of_events(run):
    found = RunFiles.__new__(RunFiles)
    found.run, found.lines, found._held = run, [], False
    found._check_events()
    return {line.name: (line.status, line.text) for line in found.lines}


def test_rows_twice_or_left_out_are_named(run):
    first, *rows = run.metrics.read_text().splitlines(keepends=True)
    for changed, said in (
        ([rows[0], rows[1], rows[1], rows[2]], "row 3 has epoch 2 twice"),
        ([rows[0], rows[2]], "row 2 has epoch 3 where 2 is expected"),
        (rows[:2], "2 epochs, but the saved state has 3"),
        ([rows[0], rows[1].replace(",", ",0,", 1), rows[2]], "row 2 does not have"),
        ([rows[0].replace("1,", "one,", 1)], "one"),
    ):
        run.metrics.write_text("".join([first, *changed]))
        status, text = statuses(run)["metrics.csv"]
        assert status == DAMAGED and said in text
    first, *rows = run.learning_rate.read_text().splitlines(keepends=True)
    run.learning_rate.write_text("".join([first, rows[0], rows[0]]))
    assert statuses(run)["learning_rate.csv"] == (DAMAGED, "row 2 has step 1 after 1")


def test_checkpoints_of_other_networks_are_named(run):
    best = run.best.read_bytes()
    checkpoints.write(run.best, head={"class_name": "UNet", "config": {}}, preprocess=None)
    assert statuses(run)["checkpoints/best.keras"] == (
        DAMAGED,
        "its head classifier is a UNet, the recipe's a Classifier",
    )
    checkpoints.write(run.best, head={"class_name": "Classifier", "config": {}}, preprocess={"size": [64, 64]})
    assert "its images are of size [64, 64], the recipe's of [32, 32]" in statuses(run)["checkpoints/best.keras"][1]
    checkpoints.write(run.best, head={"x": {"class_name": "Classifier"}}, preprocess=None)
    assert "it has the heads x, the recipe classifier" in statuses(run)["checkpoints/best.keras"][1]
    checkpoints.write(run.best, head={"class_name": "Classifier", "config": {}}, preprocess=None)
    assert "shapes that the saved state does not have, such as (200,)" in statuses(run)["checkpoints/best.keras"][1]
    shutil.rmtree(run.states.folder)
    found = statuses(run)
    assert found["checkpoints"] == (DAMAGED, "best.keras and last.keras hold different networks")
    checkpoints.write(run.last, head={"class_name": "Classifier", "config": {}}, preprocess=None)
    assert "checkpoints" not in statuses(run)
    run.best.write_bytes(best)
    assert RunFiles(run).resume == "cannot be resumed: it has no saved state"
    (run.path / "evaluation.json").write_text("{}")
    run.best.unlink()
    assert statuses(run)["checkpoints/best.keras"] == (DAMAGED, "missing")


def test_what_a_kill_leaves_is_noted(run):
    (run.path / "checkpoints" / ".writing-last.keras").write_bytes(b"half")
    assert statuses(run)["checkpoints/.writing-last.keras"] == (
        NOTE,
        "1 half-written by a killed process; resume removes such files",
    )
    for path in run.states.files:
        checkpoints.damage(path, "truncated")
    assert RunFiles(run).resume == "cannot be resumed: no saved state is whole"


def test_values_that_are_not_finite_are_noted(run):
    with zipfile.ZipFile(run.last) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    _, arrays = generations.read(run.states.files[0])
    kernel = np.ascontiguousarray(max((array for array in arrays if array.ndim == 4), key=lambda one: one.nbytes))
    nan = np.where(np.arange(kernel.size).reshape(kernel.shape) == 5, np.float32(np.nan), kernel)
    assert members["model.weights.h5"].count(kernel.tobytes()) == 1
    members["model.weights.h5"] = members["model.weights.h5"].replace(kernel.tobytes(), nan.tobytes())
    with zipfile.ZipFile(run.last, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    status, text = statuses(run)["checkpoints/last.keras"]
    assert status == NOTE and text.endswith("; 1 of them hold NaN or inf")


def test_which_run_is_meant(run, tmp_path):
    assert run_at(str(run.path)).path == run.path and run_at(str(tmp_path)).path == run.path
    run.recipe.unlink()
    assert run_at(str(run.path)).path == run.path
    with pytest.raises(UserError, match="is not a run"):
        run_at(str(tmp_path / "gone"))
    with pytest.raises(UserError, match="out: unknown with run="):
        check_command([f"run={run.path}", "out=x"])


def test_an_ended_run_and_one_that_is_trained(run, monkeypatch):
    run.summary.write_text('{"metrics": {}}')
    assert RunFiles(run).resume == "it has ended: nothing is left to resume"
    run.summary.unlink()
    (run.path / "evaluation.json").write_text("{}")
    assert statuses(run)["summary.json"] == (DAMAGED, "missing")
    monkeypatch.setattr(RunDirectory, "held", True)
    assert RunFiles(run).resume == "another process is training it"


def test_results_of_every_evaluation_are_checked(run):
    below = run.path / "evaluations" / "OTHER"
    below.mkdir(parents=True)
    (below / ".visiontasks").touch()
    names = ["boxes_coco_results.json", "evaluations/OTHER/evaluation.json", "evaluations/OTHER/coco_results.json"]
    for name in names:
        (run.path / name).write_text("[]")
    assert [statuses(run)[name][0] for name in names] == [OK] * 3 and RunFiles(run).exit_code == 0
    for name in names:
        (run.path / name).write_text('[{"image_id": 1}, {"ima')
    assert [statuses(run)[name][0] for name in names] == [DAMAGED] * 3


def test_files_that_are_not_of_a_run_are_noted(run):
    (run.path / "skipped.txt").touch()
    (run.path / "lock").touch()
    assert {status for status, _ in statuses(run).values()} == {OK}
    for name in ("checkpoints/tmpab12/model.weights.h5", "state/10.state.bak", "a.txt", "notes.md"):
        (run.path / name).parent.mkdir(exist_ok=True)
        (run.path / name).touch()
    names = "a.txt, checkpoints/tmpab12/model.weights.h5, notes.md, …"
    assert statuses(run)[names] == (NOTE, "4 no file of a run; not checked")


@pytest.mark.skipif(sys.platform == "win32", reason="the lock is POSIX's")
def test_a_run_that_is_trained_meanwhile_is_no_false_alarm(run, monkeypatch):
    """Its states and drawings go while they are looked at, and it has files that are not whole yet."""
    assert RunDirectory(run.path).held is False
    trains = RunDirectory(run.path)
    assert trains.hold()
    temporary_of(run.last).touch()
    read, image = generations.read, run_files.read_image

    def pruned(path):
        if path.stem == "8":
            path.unlink()
        return read(path)

    def replaced(path):
        path.unlink()
        return image(path)

    with monkeypatch.context() as patched:
        patched.setattr(generations, "read", pruned)
        patched.setattr(run_files, "read_image", replaced)
        found = RunFiles(run)
    assert found.exit_code == 0 and found.resume == "another process is training it"
    (text,) = (line.text for line in found.lines if ".writing" in line.name)
    assert text.startswith("1 being written by a process that lives")
    trains.release()
    monkeypatch.setattr(generations, "read", lambda path: path.unlink() or read(path))
    assert RunFiles(run).exit_code == 1  # nobody trains it: who has removed them?


@pytest.mark.parametrize("name", ["recipe.yaml", "data.json"])
def test_a_recipe_or_data_that_changed_since_the_state_are_named(run, name):
    values, arrays = generations.read(run.states.files[0])
    run.states.write({**values, "marks": run.marks}, arrays)
    assert RunFiles(run).exit_code == 0
    path = run.path / name
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")  # which can be read as before
    found = RunFiles(run)
    (line,) = [line for line in found.lines if line.status == DAMAGED]
    assert line.name == name and "changed since the newest state was saved" in line.text
    assert found.resume.startswith(f"cannot be resumed: {name} is damaged or changed")
