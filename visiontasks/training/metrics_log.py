"""`MetricsLog`: writes metrics.csv, learning_rate.csv and curves.png during training."""

import csv
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from visiontasks.errors import UserError
from visiontasks.training.progress import main_metrics

RATES = 50  # learning rates recorded per epoch
DRAW_SECONDS = 10  # between drawings of the curves; a drawing takes about one second


class MetricsLog(keras.callbacks.Callback):
    """Writes a row per epoch to `metrics.csv`, up to 50 to `learning_rate.csv`, and draws both as `curves.png`.

    A step is an update of the weights; steps and epochs are counted from 1 through all stages.

    Args:
        run: the RunDirectory.
        tasks: {head name: Task}.
        console: a rich Console, for the warning that curves cannot be drawn.
    """

    def __init__(self, run, tasks: dict, console):
        super().__init__()
        self.run, self.tasks, self.console = run, tasks, console
        self.epochs, self.rates = CsvLog(run.metrics), CsvLog(run.learning_rate)
        self._steps, self._stages, self._metrics = 0, [], []
        self._rate, self._begun, self._drawn = None, 0.0, 0.0
        self._can_draw = True

    def begin_stage(self, rate: Callable[[int], float]):
        """Begin a stage in which update n (from 0) has the learning rate `rate(n)` for the heads."""
        self._stages.append({"step": self._steps, "epoch": len(self.epochs.rows)})
        self._rate = rate

    def on_epoch_begin(self, epoch, logs=None):
        self._begun, self._done = time.monotonic(), 0

    def on_train_batch_end(self, batch, logs=None):
        self._done = batch + 1

    def on_epoch_end(self, epoch, logs=None):
        first = self._steps - self._stages[-1]["step"]
        points = np.unique(np.linspace(0, self._done - 1, min(RATES, self._done)).astype(int)).tolist()
        rates = {self._steps + n + 1: float(self._rate(first + n)) for n in points}
        self.rates.add(*({"step": step, "learning_rate": rate} for step, rate in rates.items()))
        self._steps += self._done
        seconds = round(time.monotonic() - self._begun, 1)
        self.epochs.add({"epoch": epoch + 1, "step": self._steps, "seconds": seconds, **logs})
        self._metrics = self._metrics or main_metrics(self.tasks, logs)
        if time.monotonic() - self._drawn > DRAW_SECONDS:
            self.draw()

    def draw(self):
        """Draw the curves; a failure is reported once, but does not stop training."""
        if not self._can_draw or not self.epochs.rows:
            return
        try:
            from visiontasks.drawing.charts import training_figure

            stages = self._stages[1:]
            figure = training_figure(self.epochs.table(), self.rates.table(), self._metrics, stages)
            figure.savefig(self.run.curves, dpi=100)
        except Exception as error:  # of matplotlib, a font, the disk
            self._can_draw = False
            self.console.print(f"warning: {self.run.curves} cannot be drawn: {error}")
        self._drawn = time.monotonic()


class CsvLog:
    """A CSV file that grows row by row. The first row fixes the columns; missing values and NaN are empty.

    Attributes:
        rows: the rows written, as dicts.
    """

    def __init__(self, path: Path):
        self.path, self.rows = Path(path), []

    def add(self, *rows: dict):
        """Append rows.

        Raises:
            UserError: the file cannot be written.
        """
        new = not self.rows
        self.rows += rows
        try:
            with open(self.path, "w" if new else "a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(self.rows[0]), extrasaction="ignore")
                if new:
                    writer.writeheader()
                writer.writerows({key: "" if v != v else v for key, v in row.items()} for row in rows)
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}.", "dir") from error

    def table(self) -> dict[str, np.ndarray]:
        """{column: its values}, NaN for missing ones."""
        columns = self.rows[0] if self.rows else ()
        return {column: np.array([row.get(column, np.nan) for row in self.rows], float) for column in columns}
