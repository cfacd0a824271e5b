"""What saving the state each minute costs a training of unet_seg, in one run.

    python scripts/bench_saving.py [saves] [key=value …]

A save comes after every 40 steps, so that steps beside its writing and steps without are measured under the same load.
It costs the time in which it copies the variables, while training waits, and what the steps beside its writing take
longer than others.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

from visiontasks.training import devices

devices.suit_few_cores()  # as the train command does, before TensorFlow starts its threads

from rich.console import Console  # noqa: E402

from visiontasks import build  # noqa: E402
from visiontasks.registry.catalog import tasks_of  # noqa: E402
from visiontasks.training import fit  # noqa: E402
from visiontasks.training.run_directory import RunDirectory  # noqa: E402
from visiontasks.training.state import TrainingState  # noqa: E402

BETWEEN = 40  # steps from one save to the next


class Timed(TrainingState):
    """Saves after some steps instead of some minutes, and times its saves and the steps.

    Attributes:
        copies: seconds of each save in which training waited.
        beside, alone: seconds of each step that began beside the writing of a state, and of the others.
    """

    saves, steps, written, copies, beside, alone = 20, 0, False, [], [], []

    def on_train_batch_begin(self, batch, logs=None):
        super().on_train_batch_begin(batch, logs)
        self.begun = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        seconds = time.perf_counter() - self.begun
        self.steps += 1
        if self.steps > 2:  # the first ones compile
            (self.beside if self.written else self.alone).append(seconds)
        # one that ends within a step has slowed it too
        self.written = self._writer is not None and self._writer.is_alive()
        if self.steps % BETWEEN == 0:
            self.written, begun = True, time.perf_counter()
            self.save(wait=False)
            self.copies.append(time.perf_counter() - begun)
        if len(self.copies) == self.saves:
            self.interrupt.stop.asked, self.model.stop_training = "the last of them", True

    def on_epoch_end(self, epoch, logs=None):
        self._saved = time.monotonic()  # no further save
        super().on_epoch_end(epoch, logs)


def main():
    counts = [word for word in sys.argv[1:] if word.isdecimal()]
    Timed.saves = int(counts[0]) if counts else Timed.saves
    recipe, _ = build.recipe("unet_seg", [word for word in sys.argv[1:] if "=" in word])
    train, val = build.loaders(recipe)
    model = build.model(recipe, train)
    fit.TrainingState = Timed
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory.create(Path(folder), "saving")
        fit.fit(model, train, val, tasks_of(model, train.fields), recipe.train, run, Console())
        size = run.states.files[0].stat().st_size
    copying, alone = statistics.mean(Timed.copies), statistics.median(Timed.alone)
    # no step comes after the last save
    slower = sum(seconds - alone for seconds in Timed.beside) / max(1, len(Timed.copies) - 1)
    print(
        f"{len(Timed.copies)} states of {size / 1e6:.1f} MB, {len(Timed.alone)} steps alone, {len(Timed.beside)} beside"
    )
    print(f"a step takes {alone:.3f} s; a save {copying:.3f} s of copying, and {slower:.3f} s in slower steps")
    print(f"one each minute: {(copying + slower) / 60:.3%} of the time")


if __name__ == "__main__":
    main()
