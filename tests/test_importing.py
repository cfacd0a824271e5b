"""Importing visiontasks changes nothing in the process, and so a seed gives every model the same weights."""

import subprocess
import sys
from pathlib import Path

import forked

ROOT = Path(__file__).resolve().parents[1]

# what others' imports change is not ours: those that the package imports come first
IMPORT = """
import importlib, pkgutil, random, sys, warnings
import albumentations, cv2, grain, h5py, keras, matplotlib.pyplot, numpy, rich, safetensors, tensorflow_datasets
import visiontasks

def state():
    return random.getstate(), str(numpy.random.get_state()), list(warnings.filters), sys.getrecursionlimit()

for module in pkgutil.walk_packages(visiontasks.__path__, "visiontasks."):
    before = state()
    importlib.import_module(module.name)
    assert state() == before, module.name
"""

BUILD = """
import sys
sys.path.insert(0, "tests")
import fakes, keras, numpy
from families import FAMILIES, NARROW
import visiontasks as vt
from visiontasks.model import VisionModel

def differ(make):
    weights = []
    for _ in range(2):
        keras.utils.set_random_seed(0)
        weights.append(make().get_weights())
    assert weights[0], make
    return any((first != second).any() for first, second in zip(*weights, strict=True))

def of_family(name):
    arguments, side = FAMILIES[name]
    return lambda: vt.backbone(name, input_shape=(side, side, 3), **arguments)

def with_head(name):
    small = {**NARROW.get(name, {}), "name": name}
    small.pop("tap", None)
    if small.pop("levels", None):
        small.pop("convs", None)  # one for each step between the levels
    return lambda: VisionModel(fakes.backbone((64, 64), (1, 2, 3, 4, 5)), fakes.heads()[name](3, **small))

made = {name: of_family(name) for name in FAMILIES} | {name: with_head(name) for name in fakes.heads()}
print(*sorted(name for name, make in made.items() if differ(make)))
"""


def test_importing_changes_nothing():
    """Neither a seed is drawn, nor a warning filtered, nor Python's limit of recursion raised."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", IMPORT], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_first_model_of_a_process_has_the_weights_of_its_seed():
    """Each family's first network is built before anything else of its file is used."""
    done = forked.python("-c", BUILD, cwd=ROOT)
    assert done.returncode == 0 and done.stdout.strip() == "", done.stdout + done.stderr[-3000:]
