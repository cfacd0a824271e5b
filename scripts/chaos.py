"""Kills processes at random and at chosen moments, and checks that training goes on to the same bits.

    python scripts/chaos.py trainings [KILLS] [SEED]   # kill -9 at random times; KERAS_BACKEND chooses the backend
    python scripts/chaos.py writes                     # strace: a kill, a full disk, an I/O error at each call

Trainings: each case is trained once without a stop. Then it is trained again and again in a process that is killed at a
random time and resumed, until one of them ends. Its last state must equal the undisturbed one at difference 0, variable
by variable, and its tables row by row.

Writes: a process adds a state to a folder that has two, of which one goes. It is stopped at its first, second, … call
of each kind on that folder's files. The folder must give one of the two newest states afterwards, whole, and take a
further one.
"""

import csv
import errno
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CALLS = ("openat", "write", "fsync", "rename", "unlink", "close")
STEPS, EPOCHS = 4, 4


def main(what: str, *words: str):
    with tempfile.TemporaryDirectory() as folder:
        if what == "writes":
            writes(Path(folder))
        elif what == "add":
            add(*words)
        else:
            trainings(Path(folder), *map(int, words))


def trainings(folder: Path, kills: int = 200, seed: int = 0):
    """Kill trainings until there were so many kills, and print what came of it."""
    chance = random.Random(seed)
    whole = {name: undisturbed(folder / name, name) for name in CASES}
    done = ended = different = 0
    while done < kills:
        name = list(CASES)[ended % len(CASES)]
        run = folder / f"{name}_{ended}"
        shutil.copytree(folder / "empty", run)
        seconds, before = whole[name][1], None
        while True:
            process = start(run, name, resume=any((run / "state").glob("*.state")))
            process.join(chance.uniform(0.3, 1) * seconds)
            if process.exitcode is not None:
                break
            process.kill()
            process.join()
            states = sorted((run / "state").glob("*.state"))
            if states == before:  # a busy machine: the start alone takes so long
                seconds *= 1.5
            done, before = done + 1, states
        assert process.exitcode == 0, f"{name}: the process ended by itself with {process.exitcode}"
        found, expected = result(run), whole[name][0]
        differ = [part for part in expected if found[part] != expected[part]]
        ended, different = ended + 1, different + bool(differ)
        in_what = f"; {name} in {', '.join(differ)}" if differ else ""
        print(f"{done} kills, {ended} trainings ended, {different} of them differ{in_what}", flush=True)
        shutil.rmtree(run)
    raise SystemExit(different > 0)


def undisturbed(run: Path, name: str):
    """(its result, seconds) of a training that nobody stops."""
    (run.parent / "empty" / "checkpoints").mkdir(parents=True, exist_ok=True)
    shutil.copytree(run.parent / "empty", run)
    begun = time.monotonic()
    process = start(run, name, resume=False)
    process.join()
    assert process.exitcode == 0
    print(f"{name}: {time.monotonic() - begun:.1f} s without a kill", flush=True)
    return result(run), time.monotonic() - begun


def start(run, name, resume):
    process = context().Process(target=train, args=(run, name, resume))
    process.start()
    return process


def context():
    """What `multiprocessing` makes processes with: to import Keras anew takes longer than these trainings."""
    made = multiprocessing.get_context("forkserver" if os.name != "nt" else "spawn")
    made.set_forkserver_preload(["keras", "albumentations"])
    return made


def result(run: Path):
    """What two equal trainings have in common: the bytes of all variables, what is remembered, and the tables."""
    from visiontasks.training.generations import Generations

    values, arrays = Generations(run / "state").read()
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        rows = [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]
    assert len(rows) == EPOCHS, f"expected {EPOCHS} rows in metrics.csv, got {len(rows)}"
    kept = {name: values["memories"][name] for name in ("checkpoints", "early_stopping")}
    variables = zip(values["variables"], arrays, strict=True)
    found = {f"{i} {path}": array.tobytes() for i, ((path, _, _), array) in enumerate(variables)}
    return {**found, "metrics.csv": rows, **kept, "learning_rate.csv": (run / "learning_rate.csv").read_bytes()}


def _classifier(scenes):
    """Dropout, stages with other rates, a moving average, a loss scale."""
    from visiontasks.heads.classifier import Classifier
    from visiontasks.recipe.schema import FreezeRecipe, TrainRecipe

    head = Classifier(scenes.names["label"], dropout=0.5)
    return head, TrainRecipe(epochs=EPOCHS, ema=0.9, freeze=FreezeRecipe(epochs=1), layer_decay=0.8)


def _rcnn(scenes):
    """Sampling at random in the graph."""
    from visiontasks.heads.rcnn import RCNN
    from visiontasks.recipe.schema import TrainRecipe

    head = RCNN(scenes.names["classes"], units=8, filters=8, samples=16, training_proposals=24, proposals=24)
    return head, TrainRecipe(epochs=EPOCHS, early_stopping=9)


CASES = {"classifier": _classifier, "rcnn": _rcnn}
POLICIES = {"classifier": "mixed_float16", "rcnn": "float32"}


def train(run: Path, name: str, resume: bool):
    """Train one case in a folder, a state saved after each step."""
    import dataclasses
    import io

    import keras
    from rich.console import Console

    import visiontasks as vt
    from visiontasks.data.pipeline import Loader
    from visiontasks.data.sources.shapes import Shapes
    from visiontasks.model import VisionModel
    from visiontasks.registry.catalog import tasks_of
    from visiontasks.training.fit import fit
    from visiontasks.training.run_directory import RunDirectory

    keras.utils.set_random_seed(0)
    scenes = Shapes(4 * STEPS, size=(32, 32))
    keras.config.set_dtype_policy(POLICIES[name])
    head, recipe = CASES[name](scenes)
    backbone = vt.backbone("unet_encoder", filters=4, depth=5, input_shape=(32, 32, 3))
    model = VisionModel(backbone, head)
    common = dict(fields=head.fields, size=(32, 32), batch=4)
    train = Loader(scenes, training=True, augment=[{"HorizontalFlip": {"p": 0.5}}], **common)
    val = Loader(Shapes(8, size=(32, 32), seed=1), **common)
    recipe = dataclasses.replace(recipe, save_minutes=0)
    console = Console(file=io.StringIO())
    fit(model, train, val, tasks_of(model, train.fields), recipe, RunDirectory(run), console, resume=resume)


def writes(folder: Path):
    """Stop the writing of a state at each of its calls, and print how many."""
    for fault in ("signal=KILL", f"error={errno.errorcode[errno.ENOSPC]}", f"error={errno.errorcode[errno.EIO]}"):
        for call in CALLS:
            number = 0
            while True:
                number += 1
                if not _stopped(folder / f"{fault}_{call}_{number}", call, fault, number):
                    break
            print(f"{fault}: {number - 1} calls of {call}", flush=True)


def _stopped(folder, call, fault, number) -> bool:
    """Whether the fault was met, at the call of this number."""
    from visiontasks.training.generations import Generations

    states = Generations(folder)
    for n in (0, 1):
        states.write({"n": n}, arrays_of(n))
    log = folder.with_suffix(".log")
    names = [folder, *(folder / name for name in ("1.state", "2.state", "3.state", ".writing-3.state"))]
    paths = [word for name in names for word in ("-P", str(name))]
    inject = f"inject={call}:{fault}:when={number}"
    words = ["strace", "-f", "-o", str(log), *paths, "-e", f"trace={call}", "-e", inject, sys.executable, __file__]
    done = subprocess.run([*words, "add", str(folder)], capture_output=True, text=True)
    met = (
        "INJECTED" in log.read_text(errors="replace") or done.returncode == -9 or "killed by SIGKILL" in log.read_text()
    )
    values, arrays = states.read()
    same = all(np.array_equal(a, b) for a, b in zip(arrays, arrays_of(values["n"]), strict=True))
    assert values["n"] in (1, 2) and same, (call, fault, number)
    if done.returncode == 0:
        assert values["n"] == 2, "it said that the state was written"
    elif "signal" not in fault:
        assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr, done.stderr
    states.write({"n": 3}, arrays_of(3))
    assert states.read()[0] == {"n": 3} and len(states.files) == 2
    shutil.rmtree(folder)
    log.unlink()
    return met


def arrays_of(n):
    """The arrays of state n: enough for several calls."""
    return [np.arange(9) * n, np.full(300_000, n, "float32"), np.full((300, 1000), n, "float32")]


def add(folder: str):
    """Add the second state: what is stopped."""
    from visiontasks.errors import UserError
    from visiontasks.training.generations import Generations

    try:
        Generations(Path(folder)).write({"n": 2}, arrays_of(2))
    except (UserError, OSError) as error:  # the commands print both as one line
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main(*sys.argv[1:])
