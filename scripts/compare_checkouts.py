"""Steps, predictions, or the time to the first step of recipes: this checkout against another one, in turn.

    python scripts/compare_checkouts.py OTHER step|predict|first "RECIPE [key=value …]" … [--rounds 10]

`git worktree add OTHER COMMIT` makes one of another commit. `step` (of the stage that trains everything) and `predict`
repeat the first batch of the recipe's data in two processes that run in turn; `first` is from the start of the `train`
command to the end of its first step. Prints the medians of both and the median, least and greatest ratio of the rounds,
this checkout's to the other's.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve()
# the command as it is, with a callback that every training has ending the process after the first step
FIRST = """
import os, runpy, sys, threading, time
name = "visiontasks.training.interrupt"
def watch():
    while not hasattr(sys.modules.get(name), "Interrupt"):
        time.sleep(0.05)
    sys.modules[name].Interrupt.on_train_batch_end = lambda *_, **__: os._exit(0)
threading.Thread(target=watch, daemon=True).start()
runpy.run_module("visiontasks.train", run_name="__main__", alter_sys=True)
"""


def repeat(what: str, name: str, words: list[str]):
    """The process of one checkout: for each number that comes in, seconds of so many steps or predictions go out."""
    from visiontasks.training import devices

    devices.suit_few_cores()
    import keras
    import numpy as np

    from visiontasks import build
    from visiontasks.training import fit

    recipe, _ = build.recipe(name, words)
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(devices.precision(recipe.train.precision, devices.gpu_capability()))
    loader, _ = build.loaders(recipe)
    model = build.model(recipe, loader)
    prepare = getattr(fit, "prepare", None) or fit._prepare  # its name until 2026-11-26
    prepare(model, recipe.train, False, {"total_steps": 1000, "steps_per_epoch": 100})
    batch = {field: np.asarray(value) for field, value in next(iter(loader)).items()}

    def once():
        model.train_on_batch(batch) if what == "step" else model.predict_on_batch(batch["image"])

    for _ in range(3):
        once()
    print("ready", flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        for _ in range(int(line)):
            once()
        print("took", (time.perf_counter() - start) / int(line), flush=True)


class Checkout:
    """One side: `seconds()` measures once."""

    def __init__(self, folder: Path, what: str, name: str, words: list[str]):
        self.folder, self.environment = folder, {**os.environ, "PYTHONPATH": str(folder), "TF_CPP_MIN_LOG_LEVEL": "3"}
        self.environment.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_FP16")  # as the commands do
        self.words, self.process = [f"recipe={name}", *words], None
        if what != "first":
            command = [sys.executable, str(HERE), "--repeat", what, name, *words]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            self.process = subprocess.Popen(command, cwd=folder, env=self.environment, **pipes)
            self._read("ready")

    def _read(self, word):
        for line in self.process.stdout:
            if line.startswith(word):
                return line.split()[-1]
        raise SystemExit(f"{self.folder}: the process ended")

    def seconds(self, steps: int) -> float:
        if self.process:
            print(steps, file=self.process.stdin, flush=True)
            return float(self._read("took"))
        with tempfile.TemporaryDirectory() as runs:
            start = time.perf_counter()
            command = [sys.executable, "-c", FIRST, *self.words, f"run.dir={runs}"]
            subprocess.run(command, cwd=self.folder, env=self.environment, check=True, capture_output=True)
            return time.perf_counter() - start

    def close(self):
        if self.process:
            self.process.stdin.close()
            self.process.wait()


def main():
    if sys.argv[1:2] == ["--repeat"]:
        repeat(sys.argv[2], sys.argv[3], sys.argv[4:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=lambda path: Path(path).resolve())
    parser.add_argument("what", choices=("step", "predict", "first"))
    parser.add_argument("recipes", nargs="+")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=3, help="of a round")
    given = parser.parse_args()
    print(f"| {given.what} | this, s | other, s | ratio | least, greatest |\n| --- | --- | --- | --- | --- |")
    for recipe in given.recipes:
        name, *words = recipe.split()
        sides = [Checkout(folder, given.what, name, words) for folder in (HERE.parents[1], given.other)]
        rounds = []
        for number in range(given.rounds):
            order = sides if number % 2 else sides[::-1]
            taken = {side: side.seconds(given.steps) for side in order}
            rounds.append([taken[side] for side in sides])
        for side in sides:
            side.close()
        ratios = [ours / theirs for ours, theirs in rounds]
        ours, theirs = (statistics.median(times) for times in zip(*rounds, strict=True))
        spread = f"{min(ratios):.2f}, {max(ratios):.2f}"
        print(f"| {recipe} | {ours:.3f} | {theirs:.3f} | {statistics.median(ratios):.3f} | {spread} |", flush=True)


if __name__ == "__main__":
    main()
