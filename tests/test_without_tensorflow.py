"""Without TensorFlow: JAX or PyTorch alone train, save, evaluate and predict, and what is missing is said in one line.

Where TensorFlow is installed, Python is told that it is not; `.ci/run` runs this file also where it truly is not.
"""

import json
import os
import subprocess
import sys

import pytest

from visiontasks import keras_backend
from visiontasks.errors import UserError
from visiontasks.keras_backend import BACKENDS, choose, installed

ABSENT = ("tensorflow", "tensorboard", "tensorflow_datasets")
HERE = [backend for backend in BACKENDS if installed(backend) and backend != "tensorflow"]
needs_another = pytest.mark.skipif(not HERE, reason="neither jax nor torch is installed")

COMMANDS = """
import visiontasks.__main__
for words in map(str.split, sys.argv[1:]):
    sys.argv[1:] = words
    try:
        visiontasks.__main__.main()
    except SystemExit as ended:
        if ended.code:
            raise
imported = [name for name, module in sys.modules.items() if module and name.split(".")[0] in absent]
assert "keras" in sys.modules and not imported, imported
"""

RECIPE = """
backbone: {name: unet_encoder, filters: 4, depth: 2}
head: {name: unet, filters: [4]}
data:
  train: {source: shapes, count: 8, size: [32, 32]}
  val: {source: shapes, count: 4, size: [32, 32], seed: 1}
  size: [32, 32]
  batch: 4
  augment: [{HorizontalFlip: {p: 0.5}}]
train: {epochs: 1}
"""


def python(folder, code, *words, absent=ABSENT, **environment):
    """Run code in a folder, in a process that can import nothing of `absent`."""
    block = f"import sys\nabsent = {absent}\nsys.modules.update(dict.fromkeys(absent))\n"
    kept = {key: value for key, value in os.environ.items() if key not in ("KERAS_BACKEND", "XLA_FLAGS")}
    # its own home, because the file there may name a backend
    env = {**kept, "KERAS_HOME": str(folder / "home"), **environment}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    command = [sys.executable, "-c", block + code, *words]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("backend", HERE)
def test_a_run_is_trained_saved_scored_and_predicts(backend, tmp_path):
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    asked = {} if backend == HERE[0] else {"KERAS_BACKEND": backend}  # the first is what the commands choose
    done = python(tmp_path, COMMANDS, "train recipe=tiny.yaml", **asked)
    assert done.returncode == 0, done.stderr[-3000:]
    said = f"Keras's backend: {backend}, because tensorflow is not installed"
    assert done.stdout.startswith(said) == (not asked) and f"({backend}, float32)" in done.stdout
    (run,) = (tmp_path / "runs" / "tiny").iterdir()
    assert (run / "checkpoints" / "best.keras").is_file() and not (run / "tensorboard").exists()

    # another process: the file alone makes the model again
    drawn = next((run / "predictions").glob("*.jpg"))
    done = python(tmp_path, COMMANDS, "evaluate run=runs out=scores", f"predict run=runs source={drawn}", **asked)
    assert done.returncode == 0, done.stderr[-3000:]
    trained, scored = (json.loads((folder / "evaluation.json").read_text()) for folder in (run, tmp_path / "scores"))
    assert scored and scored == pytest.approx(trained, nan_ok=True)
    (predicted,) = json.loads((tmp_path / "predictions" / "predictions.json").read_text())
    assert predicted["path"] == str(drawn)


def error(done) -> str:
    assert done.returncode == 2 and done.stdout == "", done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    return line


@needs_another
def test_a_backend_that_is_asked_for_and_not_installed_ends_the_command_before_the_data(tmp_path):
    done = python(tmp_path, COMMANDS, "train recipe=unet_seg", KERAS_BACKEND="tensorflow")
    assert error(done) == (
        f"error: KERAS_BACKEND: expected a backend that is installed ({', '.join(HERE)}); got tensorflow. "
        f'pip install "visiontasks[tensorflow]" installs it. Set KERAS_BACKEND={HERE[0]}.'
    )


def test_no_backend_at_all_says_what_to_install(tmp_path):
    done = python(tmp_path, COMMANDS, "predict run=runs source=x.jpg", absent=(*ABSENT, "jax", "torch"))
    assert error(done) == (
        'error: Keras needs a backend; pip install "visiontasks[tensorflow]", or [jax] or [torch] instead.'
    )


@needs_another
def test_a_set_of_tensorflow_datasets_says_what_to_install(tmp_path):
    done = python(tmp_path, COMMANDS, "train recipe=unet_pets", KERAS_BACKEND=HERE[0])
    assert error(done) == ("error: source tfds: tensorflow-datasets is not installed: pip install tensorflow-datasets")


@needs_another
@pytest.mark.parametrize(
    "use", ["VisionModel", "heads.UNet", "load_model('m.keras')", "backbone('resnet50')", "from_recipe('unet_seg')"]
)
def test_python_gets_an_error_that_says_what_to_set_and_nothing_changes(use, tmp_path):
    code = f"""
import os
import visiontasks as vt
from visiontasks.errors import UserError
before = dict(os.environ)
try:
    vt.{use}
except UserError as error:
    print(error)
assert before == os.environ and "keras" not in sys.modules
"""
    done = python(tmp_path, code)
    assert "got tensorflow, the default." in done.stdout and f"Set KERAS_BACKEND={HERE[0]}." in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("asked", "file", "here", "chosen"),
    [
        (None, None, ("tensorflow", "jax", "torch"), None),
        (None, None, ("jax", "torch"), "jax"),
        (None, "tensorflow", ("torch",), "torch"),  # what Keras writes by itself
        (None, "torch", ("jax", "torch"), None),
        (None, "jax", ("tensorflow",), "tensorflow"),
        ("torch", None, ("jax", "torch"), None),
        ("", None, ("jax",), "jax"),
        ("torch", None, ("tensorflow", "jax"), UserError),
        ("numpy", None, ("tensorflow",), UserError),
        (None, None, (), UserError),
    ],
)
def test_which_backend_a_command_takes(asked, file, here, chosen, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "keras", raising=False)  # another test may have imported it
    monkeypatch.setattr(keras_backend, "installed", lambda name: name in here)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_BACKEND", asked or "")
    if file is not None:
        (tmp_path / "keras.json").write_text(json.dumps({"backend": file}))
    if chosen is UserError:
        with pytest.raises(UserError):
            choose()
        return
    assert bool(choose()) == (chosen is not None)
    assert os.environ["KERAS_BACKEND"] == (chosen or asked or "")


def test_a_folder_with_a_module_s_name_is_no_module(tmp_path, monkeypatch):
    (tmp_path / "no_such_module" / "inside").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path)
    assert not installed("no_such_module") and installed("json")
