"""Kills processes at random and at chosen moments, and checks that training goes on to the same bits.

    python scripts/chaos.py trainings [KILLS] [SEED]   # kill -9 at random times; KERAS_BACKEND chooses the backend
    KERAS_BACKEND=jax python scripts/chaos.py processes [KILLS] [SEED]   # kill -9 of one of two processes
    python scripts/chaos.py writes                     # strace: a kill, a full disk, an I/O error at each call

Trainings: each case is trained once without a stop. Then it is trained again and again in a process that is killed at a
random time and resumed, until one of them ends. Its last state must equal the undisturbed one at difference 0, variable
by variable, and its tables row by row.

Processes: two train together, of which one is killed at a random time; the other one must end soon after. What goes on
with two processes must end with the bits of two that nobody disturbed. What goes on with one now and then must end with
the same order of images, and with losses and weights that differ from them as rounding does.

Writes: a process adds a state to a folder that has two, of which one goes. It is stopped at its first, second, … call
of each kind on that folder's files. The folder must give one of the two newest states afterwards, whole, and take a
further one.
"""

import csv
import dataclasses
import errno
import itertools
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from visiontasks.recipe.schema import FreezeRecipe, TrainRecipe

CALLS = ("openat", "write", "fsync", "rename", "unlink", "close")


def main(what: str, *words: str):
    with tempfile.TemporaryDirectory() as folder:
        if what == "writes":
            writes(Path(folder))
        elif what == "add":
            add(*words)
        elif what == "processes":
            processes(Path(folder), *map(int, words))
        elif what == "launch":
            launch(*words)
        elif what == "member":
            member(*words)
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
        found, expected = result(run, CASES[name].recipe.epochs), whole[name][0]
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
    return result(run, CASES[name].recipe.epochs), time.monotonic() - begun


def start(run, name, resume):
    process = context().Process(target=train, args=(run, name, resume))
    process.start()
    return process


def context():
    """What `multiprocessing` makes processes with: to import Keras anew takes longer than these trainings."""
    made = multiprocessing.get_context("forkserver" if os.name != "nt" else "spawn")
    made.set_forkserver_preload(["keras", "albumentations"])
    return made


def result(run: Path, epochs: int = 4):
    """What two equal trainings have in common: the bytes of all variables, what is remembered, and the tables."""
    from visiontasks.training.generations import Generations

    values, arrays = Generations(run / "state").read()
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        rows = [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]
    assert len(rows) == epochs, f"expected {epochs} rows in metrics.csv, got {len(rows)}"
    kept = {name: values["memories"][name] for name in ("checkpoints", "early_stopping")}
    variables = zip(values["variables"], arrays, strict=True)
    found = {f"{i} {path}": array.tobytes() for i, ((path, _, _), array) in enumerate(variables)}
    return {**found, "metrics.csv": rows, **kept, "learning_rate.csv": (run / "learning_rate.csv").read_bytes()}


def _classifier(names):
    from visiontasks.heads.classifier import Classifier

    return Classifier(names["label"], dropout=0.5)


def _rcnn(names):
    """It samples at random in the graph."""
    from visiontasks.heads.rcnn import RCNN

    return RCNN(names["classes"], units=8, filters=8, samples=16, training_proposals=24, proposals=24)


class Case(NamedTuple):
    """A small training."""

    head: Callable  # from class names
    policy: str = "float32"
    steps: int = 4
    slow: float = 0  # seconds to read an image, in bursts
    recipe: TrainRecipe = TrainRecipe(epochs=4, save_minutes=0, early_stopping=9)


# a moving average, stages with other rates
STAGES = TrainRecipe(epochs=4, save_minutes=0, ema=0.9, freeze=FreezeRecipe(epochs=1), layer_decay=0.8)
CASES = {
    "classifier": Case(_classifier, "mixed_float16", recipe=STAGES),
    "rcnn": Case(_rcnn),
    # the longer TensorFlow has waited for batches, the more it reads ahead: if epochs are short, more than one
    "short_epochs": Case(_classifier, steps=1, slow=0.3, recipe=dataclasses.replace(STAGES, epochs=32)),
}


def train(run: Path, name: str, resume: bool):
    """Train one case in a folder, a state saved after each step."""
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

    class Slow(Shapes):
        reads = itertools.count()

        def __getitem__(self, index):
            if next(self.reads) % 60 < 20:
                time.sleep(case.slow)
            return super().__getitem__(index)

    case = CASES[name]
    keras.utils.set_random_seed(0)
    scenes = Slow(4 * case.steps, size=(32, 32))
    keras.config.set_dtype_policy(case.policy)
    head = case.head(scenes.names)
    backbone = vt.backbone("unet_encoder", filters=4, depth=5, input_shape=(32, 32, 3))
    model = VisionModel(backbone, head)
    common = dict(fields=head.fields, size=(32, 32), batch=4)
    train = Loader(scenes, training=True, augment=[{"HorizontalFlip": {"p": 0.5}}], **common)
    val = Loader(Shapes(8, size=(32, 32), seed=1), **common)
    console = Console(file=io.StringIO())
    fit(model, train, val, tasks_of(model, train.fields), case.recipe, RunDirectory(run), console, resume=resume)


RECIPE = """
backbone: {name: unet_encoder, filters: 4, depth: 4}
head: {name: classifier, dropout: 0.5}
data:
  train: {source: shapes, count: 48, size: [32, 32]}
  val: {source: shapes, count: 11, size: [32, 32], seed: 1}
  size: [32, 32]
  batch: 4
  augment: [{HorizontalFlip: {p: 0.5}}]
train: {epochs: 4, ema: 0.9, save_minutes: 0, optimizer: {name: sgd, learning_rate: 0.01}}
"""


def processes(folder: Path, kills: int = 20, seed: int = 0):
    """Kill one of two processes that train together, until there were so many kills, and print what came of it."""
    chance = random.Random(seed)
    recipe = folder / "chaos.yaml"
    recipe.write_text(RECIPE, encoding="utf-8")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder / "compiled")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    assert _command(folder, 2, f"recipe={recipe}", f"run.dir={folder / 'whole'}").wait() == 0
    expected = result(_run(folder / "whole"))
    done = ended = wrong = 0
    most = {True: 0.0, False: 0.0}
    while done < kills:
        place, alike, resume = folder / f"killed_{ended}", ended % 2 == 0, False
        while True:
            # every other training goes on with another number of processes; one process alone is killed too
            count = 2 if alike or not resume else chance.choice((1, 2))
            words = [f"resume={_run(place)}"] if resume else [f"recipe={recipe}", f"run.dir={place}"]
            parent = _command(folder, count, *words)
            killed = _kill_one(parent, count, chance, place)
            code = parent.wait(60)  # what is left of them ends soon
            if not killed:
                break
            done += 1
            assert code == 2 or count == 1, f"after a kill the exit code was {code}"
            resume = any(place.glob("chaos/*/state/[0-9]*.state"))
            if not resume:
                shutil.rmtree(place, ignore_errors=True)
        assert code == 0, f"it ended by itself with {code}"
        found = result(_run(place))
        differ = [part for part in expected if found[part] != expected[part]] if alike else []
        if differ:
            print(f"{place.name} differs in {', '.join(differ)}", flush=True)
        most[alike] = max(most[alike], _difference(found["metrics.csv"], expected["metrics.csv"]))
        ended, wrong = ended + 1, wrong + bool(differ)
        print(
            f"{done} kills, {ended} trainings ended; with two processes {wrong} of {(ended + 1) // 2} differ in a bit; "
            f"with one or two, losses differ by up to {most[False]:.1e}",
            flush=True,
        )
    # images in another order differ by some percent
    raise SystemExit(wrong > 0 or most[False] > 1e-3)


def _command(folder, count, *words):
    """The command in a process of its own."""
    started = ["launch", str(count)] if count > 1 else ["member"]
    output = open(folder / "output.txt", "a")  # noqa: SIM115 (the process writes it)
    return subprocess.Popen([sys.executable, __file__, *started, *words], stdout=output, stderr=output)


def _run(place):
    return next(iter(place.glob("chaos/*")))


def _kill_one(parent, count, chance, place) -> bool:
    """Kill one of a command's processes, some states and a random time later; whether the command ran until then."""

    def saved():
        return max((int(path.stem) for path in place.glob("chaos/*/state/[0-9]*.state")), default=0)

    until = saved() + chance.randint(0, 25)
    while saved() < until and parent.poll() is None:
        time.sleep(0.02)
    time.sleep(chance.uniform(0, 1))
    while parent.poll() is None:
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        victims = [int(child) for child in children] if count > 1 else [parent.pid]
        if len(victims) == count:
            os.kill(chance.choice(victims), signal.SIGKILL)
            return True
    return False


def _difference(rows, others) -> float:
    """The largest relative difference of two tables' training losses."""
    pairs = zip(rows, others, strict=True)
    return max(abs(float(a["loss"]) / float(b["loss"]) - 1) for a, b in pairs)


def launch(count: str, *words: str):
    """Be the command `train processes=COUNT`, whose processes have no TensorFlow to import."""
    from visiontasks import cli
    from visiontasks.training import launching

    command = [sys.executable, __file__, "member", *words]
    cli.run(lambda _: launching.launch(int(count), command), ["launch"], str)


def member(*words: str):
    """Be the command `train`, in a process that has no TensorFlow to import."""
    sys.modules.update(dict.fromkeys(("tensorflow", "tensorboard")))
    from visiontasks import train

    train.main(list(words))


def writes(folder: Path):
    """Stop the writing of a state at each of its calls, and print how many."""
    for fault in ("signal=KILL", f"error={errno.errorcode[errno.ENOSPC]}", f"error={errno.errorcode[errno.EIO]}"):
        for call in CALLS:
            number = 0
            while True:
                number += 1
                if not _stopped(folder / f"{fault}_{call}_{number}", call, fault, number):
                    break
            assert number > 1, f"strace has met no {call}"
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
    from visiontasks import writing
    from visiontasks.errors import UserError
    from visiontasks.training.generations import Generations

    # strace is told the names before there are any
    writing.temporary_of = lambda path: path.with_name(f".writing-{path.name}")
    try:
        Generations(Path(folder)).write({"n": 2}, arrays_of(2))
    except (UserError, OSError) as error:  # the commands print both as one line
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main(*sys.argv[1:])
