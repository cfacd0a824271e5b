"""`MetricsLog`: writes metrics.csv, learning_rate.csv and curves.png during training."""

import csv
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from visiontasks.training.progress import main_metrics
from visiontasks.writing import replace_atomically

RATES = 50  # learning rates recorded per epoch
DRAW_SECONDS = 10  # before the curves are drawn, and between drawings: each takes up to a second


class MetricsLog(keras.callbacks.Callback):
    """Writes a row per epoch to `metrics.csv`, up to 50 to `learning_rate.csv`, and draws both as `curves.png`.

    A step is an update of the weights; steps and epochs are counted from 1 through all stages. A batch that is left out
    keeps its number, so that steps rise from epoch to epoch, but has no row in `learning_rate.csv`.

    Args:
        run: the RunDirectory.
        tasks: {head name: Task}.
        console: a rich Console, for the warning that curves cannot be drawn.
        position: the Position.
    """

    def __init__(self, run, tasks: dict, console, position):
        super().__init__()
        self.run, self.tasks, self.console, self.position = run, tasks, console, position
        self.epochs, self.rates = CsvLog(run.metrics), CsvLog(run.learning_rate)
        self._stages, self._metrics = [], []
        self._rate, self._begun, self._drawn = None, None, time.monotonic()
        self._can_draw = True

    def memory(self) -> dict:
        rows = {"epochs": list(self.epochs.rows), "rates": list(self.rates.rows)}
        return {**rows, "stages": list(self._stages), "begun": self._begun}

    def remember(self, memory: dict):
        self.epochs.replace(memory["epochs"])
        self.rates.replace(memory["rates"])
        self._stages, self._begun = memory["stages"], memory["begun"]
        if self.epochs.rows:
            self._metrics = main_metrics(self.tasks, self.epochs.rows[0])

    def begin_stage(self, rate: Callable[[int], float], epoch: int):
        """Begin a stage, or go on with it.

        Args:
            rate: gives the learning rate of the heads for update n (from 0) of the stage.
            epoch: its first.
        """
        stage = {"step": epoch * len(self.position.loader), "epoch": epoch}
        if stage not in self._stages:
            self._stages.append(stage)
        self._rate = rate

    def on_epoch_begin(self, epoch, logs=None):
        if self._begun is None:  # else another process began it
            self._begun = self.position.seconds

    def on_epoch_end(self, epoch, logs=None):
        done = self.position.step
        steps = epoch * len(self.position.loader)  # before this epoch
        first = steps - self._stages[-1]["step"]
        taken = [n for n in range(done) if steps + n not in self.position.left_out]
        points = np.unique(np.linspace(0, len(taken) - 1, min(RATES, len(taken))).astype(int))
        rates = {steps + taken[n] + 1: float(self._rate(first + taken[n])) for n in points}
        if rates:
            self.rates.add(*({"step": step, "learning_rate": rate} for step, rate in rates.items()))
        seconds = round(self.position.seconds - self._begun, 1)
        self._begun = None
        self.epochs.add({"epoch": epoch + 1, "step": steps + done, "seconds": seconds, **logs})
        self._metrics = self._metrics or main_metrics(self.tasks, logs)
        if time.monotonic() - self._drawn > DRAW_SECONDS:
            self.draw()

    def draw(self):
        """Draw the curves; a failure is reported once, but does not stop training."""
        if not self._can_draw or not self.epochs.rows:
            return
        try:
            from visiontasks.drawing.charts import training_figure, write_chart

            stages = self._stages[1:]
            figure = training_figure(self.epochs.table(), self.rates.table(), self._metrics, stages)
            write_chart(self.run.curves, figure)
        except Exception as error:  # of matplotlib, a font, the disk
            self._can_draw = False
            self.console.print(f"warning: {self.run.curves} cannot be drawn: {error}")
        self._drawn = time.monotonic()


class CsvLog:
    """A CSV file that grows by rows. The first row fixes the columns; missing values and NaN are empty.

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
        self.rows += rows
        replace_atomically(self.path, self._write, "dir")

    def replace(self, rows: list[dict]):
        """Begin with these rows; of those that the file has, none stays.

        Raises:
            UserError: the file cannot be written; it is unchanged.
        """
        self.rows = []
        if rows:
            self.add(*rows)
        else:
            self.path.unlink(missing_ok=True)

    def _write(self, path):
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(self.rows[0]), extrasaction="ignore")
            writer.writeheader()
            writer.writerows({key: "" if v != v else v for key, v in row.items()} for row in self.rows)

    def table(self) -> dict[str, np.ndarray]:
        """{column: its values}, NaN for missing ones."""
        columns = self.rows[0] if self.rows else ()
        return {column: np.array([row.get(column, np.nan) for row in self.rows], float) for column in columns}
