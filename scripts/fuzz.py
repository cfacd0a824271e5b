"""Feeds the commands with files that are broken on purpose: no traceback, no crash, no hang, no memory without end.

    python scripts/fuzz.py [COUNT] [--seed S] [--kinds recipes,csv,json,xml,txt,images,checkpoints] [--first N]
        [--jobs N] [--keep DIR] [--without-keras] [--only KIND:NUMBER]

COUNT inputs, shared among the kinds. Each is a small recipe, data set or run of training with one to four mutations
(scripts/fuzzing/mutations.py), a function of the seed, the kind and a number alone. It goes through the commands
themselves, each in a process forked from this one, which has imported the libraries: data through `check data=`, then
as all batches that training reads, and of every tenth `train dry_run=true`; a recipe through `train dry_run=true`; a
checkpoint through `predict`, and every second one through `evaluate`. A fault is what raises, dies by a signal, takes
30 s of the processor (or 150 s in all), or uses over 2 GB (ru_maxrss of the process, by wait4). Its input and what was
printed are kept in DIR, with as few of its mutations as show it.

Hypothesis and Atheris are not used: Hypothesis draws values inside one process, which a crash, a hang or a memory bomb
would end; Atheris steers by coverage of a function that is called thousands of times a second. Linux alone.
"""

import argparse
import collections
import contextlib
import importlib
import itertools
import os
import shutil
import sys
import tempfile
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent
sys.path[:0] = [str(SCRIPTS.parent), str(SCRIPTS)]

from fuzzing import inputs  # noqa: E402
from fuzzing.trying import ACCEPTED, FAULTS, REFUSED, Child  # noqa: E402

# what the commands import late, so that no process has to
LIBRARIES = ("albumentations", "grain", "matplotlib.pyplot", "pydantic", "omegaconf", "rich.progress", "PIL.ImageFont")
ROOMS = ("recipe", "data", "drawing", "evaluation")


def main(words: list[str] | None = None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, nargs="?", default=700)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default=",".join(inputs.KINDS))
    parser.add_argument("--first", type=int, default=0, help="the number of the first input of each kind")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("fuzz_faults"))
    parser.add_argument("--without-keras", action="store_true")
    parser.add_argument("--only", help="KIND:NUMBER of one input, whose files and output are kept")
    asked = parser.parse_args(words)
    kinds = asked.kinds.split(",")
    if unknown := {*kinds} - {*inputs.KINDS}:
        parser.error(f"--kinds: {', '.join(sorted(unknown))}; choices: {', '.join(inputs.KINDS)}")
    _warm(not asked.without_keras)
    keras = not asked.without_keras
    if asked.only:
        kind, _, number = asked.only.partition(":")
        one = inputs.draw(kind, asked.seed, int(number))
        outcome = _try(one, keras, asked.keep / f"{kind}_{asked.seed}_{number}")
        print(one, outcome.what, outcome.text, sep="\n")
        raise SystemExit(outcome.what in FAULTS)
    numbers = range(asked.first, asked.first + -(-asked.count // len(kinds)))
    drawn = (inputs.draw(kind, asked.seed, number) for number in numbers for kind in kinds)
    table = Table()
    with contextlib.suppress(KeyboardInterrupt):  # the table of those that were tried is printed
        for one, outcome in _outcomes(itertools.islice(drawn, asked.count), asked.jobs, keras):
            table.add(one.kind, outcome)
            if outcome.what in FAULTS:
                name = f"{one.kind}_{asked.seed}_{one.number}"
                _keep(_shrunk(one, outcome, keras), keras, asked.keep / name)
                print(f"{name} ({one.base}): {outcome.what}: {outcome.text.strip().splitlines()[-1:]}", flush=True)
    print(table)
    raise SystemExit(table.faults > 0)


def _warm(keras: bool):
    """Import what the commands import, start no thread, and read no data: what is forked then is a fresh process."""
    from PIL import Image

    from visiontasks import build, cli, evaluate, predict, train  # noqa: F401
    from visiontasks.data import transforms

    cli._set_environment()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    for name in LIBRARIES:
        importlib.import_module(name)
    for path in (path for room in ROOMS for path in (SCRIPTS.parent / "visiontasks" / room).rglob("[!_]*.py")):
        importlib.import_module(".".join(path.relative_to(SCRIPTS.parent).with_suffix("").parts))
    Image.init()
    for name in ("unet_seg", "ssd_det", "classify", "tagging", "pose_heatmap"):  # the catalogue is read once
        build.recipe(name)
    transforms.Augment([{"HorizontalFlip": {}}], (32, 32), "stretch", {})
    if keras:
        importlib.import_module("keras")
        importlib.import_module("visiontasks.model")


def _outcomes(drawn, jobs, keras):
    """(input, its outcome) of each, with some at the same time."""
    running = collections.deque()
    with tempfile.TemporaryDirectory(prefix="fuzz_") as root:
        for number, one in enumerate(drawn):
            if len(running) == jobs:
                yield _ended(*running.popleft())
            folder = Path(root, str(number))
            folder.mkdir()
            one.write(folder)
            running.append((one, Child(folder, lambda one=one: one.call(keras))))
        while running:
            yield _ended(*running.popleft())


def _ended(one, child):
    outcome = child.outcome()
    shutil.rmtree(child.folder, ignore_errors=True)
    return one, outcome


def _try(one, keras, folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    one.write(folder)
    return Child(folder, lambda: one.call(keras)).outcome()


def _shrunk(one, outcome, keras):
    """The input without the mutations that the fault does not need."""
    with tempfile.TemporaryDirectory(prefix="fuzz_") as root:
        for step in one.steps:
            fewer = one._replace(steps=tuple(other for other in one.steps if other is not step))
            if fewer.steps and _try(fewer, keras, Path(root, "fewer")).what == outcome.what:
                one = fewer
    return one


def _keep(one, keras, folder):
    """Keep an input's files, what was printed, and what the input is."""
    outcome = _try(one, keras, folder)
    (folder / "input").write_text(f"{one}\n{outcome.what}, {outcome.bytes / 2**20:.0f} MiB, {outcome.seconds:.1f} s\n")


class Table:
    """The counts of outcomes by kind."""

    def __init__(self):
        self._counts = collections.defaultdict(collections.Counter)
        self._most, self._longest = collections.Counter(), collections.Counter()

    def add(self, kind: str, outcome):
        self._counts[kind][outcome.what] += 1
        self._most[kind] = max(self._most[kind], outcome.bytes)
        self._longest[kind] = max(self._longest[kind], outcome.seconds)

    @property
    def faults(self) -> int:
        return sum(counts[what] for counts in self._counts.values() for what in FAULTS)

    def __str__(self):
        whats = (ACCEPTED, REFUSED, *FAULTS)
        lines = ["| kind | inputs | " + " | ".join(whats) + " | largest memory | longest |"]
        lines.append("| --- " * (len(whats) + 4) + "|")
        for kind, counts in self._counts.items():
            cells = [kind, sum(counts.values()), *(counts[what] for what in whats)]
            cells += [f"{self._most[kind] / 2**20:.0f} MiB", f"{self._longest[kind]:.1f} s"]
            lines.append(f"| {' | '.join(map(str, cells))} |")
        return "\n".join(lines)


if __name__ == "__main__":
    main()
