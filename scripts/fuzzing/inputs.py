"""One input of scripts/fuzz.py: the files of a number, and the commands that take them."""

import functools
import sys
from pathlib import Path
from random import Random
from typing import NamedTuple

import yaml

from fuzzing import data_sets, recipes
from fuzzing.formats import mutate

MOST_STEPS = 4
DRAWN = 10  # every so many accepted data sets a training with dry_run draws a batch, after Keras has built a network


class Input(NamedTuple):
    """An input: a base, and the seeds of the mutations of it, in order.

    Args:
        kind: of KINDS.
        base: the name of what is changed.
        steps: (file, form, seed) of each mutation.
        number: of the input in its kind.
    """

    kind: str
    base: str
    steps: tuple[tuple[str, str, int], ...]
    number: int

    def write(self, folder: Path):
        """Write all files below a folder."""
        files = dict(_bases(self.kind)[self.base].files)
        for path, form, seed in self.steps:
            files[path] = mutate(files[path], form, seed)
        for path, content in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)

    def call(self, keras: bool):
        """Call the commands, in the folder that holds the files; ends with SystemExit.

        Args:
            keras: whether to call those that build a network.
        """
        if self.kind == "recipes":
            recipes.call(keras)
        elif self.kind == "checkpoints":
            from fuzzing import checkpoints

            checkpoints.call(self.base, self.number % DRAWN < 5)
        else:
            _learn_from_data(keras and self.number % DRAWN == 0)


@functools.cache
def _bases(kind):
    if kind == "checkpoints":
        from fuzzing import checkpoints

        return checkpoints.bases()
    if kind == "recipes":
        return recipes.bases()
    made = data_sets.KINDS[kind]()
    return {
        name: one._replace(
            files={
                **{f"data/{path}": content for path, content in one.files.items()},
                "recipe.yaml": yaml.safe_dump(one.recipe).encode(),
            },
            targets={f"data/{path}": form for path, form in one.targets.items()},
        )
        for name, one in made.items()
    }


KINDS = ("recipes", *data_sets.KINDS, "checkpoints")


def draw(kind: str, seed: int, number: int) -> Input:
    """The input of a number: one to MOST_STEPS mutations of one base, few more often than many."""
    chance = Random(f"{seed} {kind} {number}")
    bases = _bases(kind)
    name = [*bases][number % len(bases)]
    targets = [*bases[name].targets.items()]
    first = chance.choice(targets)
    steps = []
    for _ in range(min(MOST_STEPS, 1 + int(chance.expovariate(1)))):
        # most often the same file again: two broken files say no more than one
        path, form = first if chance.random() < 0.8 else chance.choice(targets)
        steps.append((path, form, chance.getrandbits(48)))
    return Input(kind, name, tuple(steps), number)


def _learn_from_data(whole: bool):
    """`check data=`, then all batches of both sets as training reads them, and a training with dry_run if `whole`."""
    from visiontasks import cli
    from visiontasks.check import main as check
    from visiontasks.train import main as train

    _refused(lambda: check(["data=data", "charts=false"]))
    _refused(lambda: cli.run(_batches, ["recipe=recipe.yaml"], str))
    if whole:
        train(["recipe=recipe.yaml", "data=data", "dry_run=true"])
    raise SystemExit(0)


def _refused(command):
    """Call a command, and go on unless it ends with an error; `check` ends with 2 also if it found some."""
    try:
        command()
    except SystemExit as ended:
        sys.stderr.flush()
        if ended.code not in (0, 1) and "\nerror: " in "\n" + Path("printed").read_text("utf-8", "replace"):
            raise


def _batches(_) -> int:
    """What `train` does with data, without Keras."""
    from visiontasks import build
    from visiontasks.data.batch import check_readable

    recipe, _ = build.recipe("recipe.yaml", [], "data")
    train_set, val_set = build.loaders(recipe)
    for one in (train_set, val_set):
        check_readable(one.source)
    for _ in train_set:
        pass
    for _ in val_set.with_samples():
        pass
    return 0
