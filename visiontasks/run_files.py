"""Whether a run's files are whole, and from where it can be resumed; looked at without Keras."""

import collections
import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from visiontasks.data.images import read_image
from visiontasks.data.layout import RESULTS
from visiontasks.data.stamps import read_stamps
from visiontasks.errors import BadImage
from visiontasks.recipe.reading import read
from visiontasks.recipe.schema import Recipe
from visiontasks.registry import catalog
from visiontasks.training import generations
from visiontasks.training.event_records import count_records
from visiontasks.training.run_directory import MODEL, RunDirectory, differing
from visiontasks.weights.keras_file import arrays, check_keras_file
from visiontasks.writing import is_live, is_unfinished, unfinished

OK, NOTE, DAMAGED = "ok", "note", "damaged"
_IMAGES = (".png", ".jpg", ".jpeg")
_KNOWN = re.compile(
    r"recipe\.yaml|state/\d+\.state|checkpoints/(best|last)\.keras|(metrics|learning_rate)\.csv|(data|summary)\.json|"
    r"(trained_on|skipped)\.txt|lock|tensorboard/(.+/)?events\..+"
)


class Line(NamedTuple):
    """A file's name within the run, OK, NOTE or DAMAGED, and a few words."""

    name: str
    status: str
    text: str


class RunFiles:
    """The files of a run, each checked once.

    Args:
        run: the run.

    Attributes:
        lines: a Line for each file, or for several of one kind.
        resume: a sentence: whether the run can be resumed, and from where.
    """

    def __init__(self, run: RunDirectory):
        self.run, self.lines, self.recipe, self._shapes = run, [], None, {}
        self._held = run.held  # then files are replaced while they are looked at
        self._state = None  # the values of the newest state that is whole
        for path in sorted(run.states.files, key=lambda one: int(one.stem)):
            self._check(f"state/{path.name}", path, self._read_state)
        marks = self._state.get("marks", {}) if self._state else {}
        self._changed = differing(marks, run.marks)
        self._check("recipe.yaml", run.recipe, self._read_recipe)
        self.lines.insert(0, self.lines.pop())  # the first thing to read, though its mark is in the state
        for path in (run.best, run.last):
            self._check(f"checkpoints/{path.name}", path, self._read_checkpoint, self._checkpoint_expected(path))
        self._compare_checkpoints()
        self._check("metrics.csv", run.metrics, self._read_metrics, self._rows > 0)
        self._check("learning_rate.csv", run.learning_rate, self._read_rates, self._rows > 0)
        self._check("data.json", run.data, self._read_data)
        self._check("summary.json", run.summary, _read_json, self._ended)
        self._check("trained_on.txt", run.trained_on, _read_fingerprints, expected=False)
        for path in sorted({*run.path.rglob("evaluation.json"), *run.path.rglob("*coco_results.json")}):
            if not is_unfinished(path):
                self._check(str(path.relative_to(run.path)), path, _read_json, expected=False)
        self._check_events()
        self._check_images()
        left = unfinished(run.path)
        live = {path for path in left if is_live(path)}
        self._note(live, "being written by a process that lives, or that lived an hour ago on another machine")
        self._note({*left} - live, "half-written by a killed process; resume removes such files")
        self._note({*_unknown(run.path)}, "no file of a run; not checked")
        self.resume = self._resume()

    @property
    def exit_code(self) -> int:
        """0 if nothing is damaged, else 1."""
        return int(any(line.status == DAMAGED for line in self.lines))

    def to_json(self) -> dict:
        """JSON-ready: {"run", "status", "files": [{"name", "status", "text"}], "resume"}."""
        files = [line._asdict() for line in self.lines]
        status = DAMAGED if self.exit_code else OK
        return {"run": str(self.run.path), "status": status, "files": files, "resume": self.resume}

    def page(self) -> str:
        """The table and the sentence, to print."""
        wide = max(len(line.name) for line in self.lines)
        rows = [f"{line.name:{wide}}  {line.status:7}  {line.text}" for line in self.lines]
        return "\n".join([f"run: {self.run.path}", *rows, self.resume])

    def _add(self, name, status, text):
        self.lines.append(Line(name, status, text))

    def _note(self, paths, text):
        if paths:
            names = [str(path.relative_to(self.run.path)) for path in sorted(paths)]
            self._add(", ".join(names[:3]) + (", …" if len(names) > 3 else ""), NOTE, f"{len(names)} {text}")

    def _check(self, name: str, path: Path, check: Callable[[Path], str], expected: bool = True):
        if not path.is_file():
            if expected:
                self._add(name, DAMAGED, "missing")
            return
        try:
            text = check(path)
        except (OSError, ValueError, KeyError, TypeError, csv.Error, RecursionError) as error:
            if path.is_file() or not self._held:  # else a newer one has taken its place
                self._add(name, DAMAGED, _one_line(error))
        else:
            self._add(name, NOTE if text.startswith("note: ") else OK, text.removeprefix("note: "))

    def _check_mark(self, path):
        if path.name in self._changed:
            raise ValueError("it changed since the newest state was saved, so the run does not resume")

    def _read_recipe(self, path) -> str:
        self._check_mark(path)
        self.recipe: Recipe = read(str(path))
        return f"{self.recipe.backbone['name']} with {', '.join(self.recipe.parts)}"

    def _read_state(self, path) -> str:
        values, held = generations.read(path)
        position = values["memories"]["position"]
        self._state = values
        return f"epoch {position['epoch'] + 1}, step {position['step']}; {len(held)} arrays"

    @property
    def _rows(self) -> int:
        """Epochs that the newest state knows to have ended."""
        return self._state["memories"]["position"]["epoch"] if self._state else 0

    @property
    def _ended(self) -> bool:
        return (self.run.path / "evaluation.json").is_file()

    def _checkpoint_expected(self, path) -> bool:
        if self._state is None:  # one that learns without gradients saves none, and its checkpoint before it is scored
            return path == self.run.best and self._ended
        return self._rows > 0 and (path == self.run.last or self._state["memories"]["checkpoints"]["best_epoch"])

    def _read_checkpoint(self, path) -> str:
        described = check_keras_file(path)
        if (kind := described.get("class_name")) != MODEL:
            raise ValueError(f"it holds a {kind}, no {MODEL}")
        if self.recipe is not None:
            _check_described(described["config"], self.recipe)
        shapes, infinite = collections.Counter(), 0
        for name, data in arrays(path):
            shapes[name, data.shape] += 1
            infinite += data.dtype.kind == "f" and not np.isfinite(data[()]).all()
        self._shapes[path.name] = shapes
        if self._state is not None:
            known = collections.Counter(tuple(shape) for _, shape, _ in self._state["variables"])
            other = collections.Counter(shape for _, shape in shapes.elements()) - known
            if other:
                raise ValueError(
                    f"it has arrays of shapes that the saved state does not have, such as {next(iter(other))}"
                )
        text = f"{sum(shapes.values())} arrays, {path.stat().st_size:,} bytes"
        return f"note: {text}; {infinite} of them hold NaN or inf" if infinite else text

    def _compare_checkpoints(self):
        if len(self._shapes) == 2 and len({frozenset(shapes.items()) for shapes in self._shapes.values()}) == 2:
            self._add("checkpoints", DAMAGED, "best.keras and last.keras hold different networks")

    def _read_metrics(self, path) -> str:
        rows = _rows_of(path)
        epochs = [int(row["epoch"]) for row in rows]
        for number, epoch in enumerate(epochs, start=1):
            if epoch != number:
                what = "twice" if epoch in epochs[: number - 1] else f"where {number} is expected"
                raise ValueError(f"row {number} has epoch {epoch} {what}")
        _check_rising(rows)
        if len(rows) < self._rows:
            raise ValueError(f"{len(rows)} epochs, but the saved state has {self._rows}; resume writes them again")
        return f"{len(rows)} epochs"

    def _read_rates(self, path) -> str:
        rows = _rows_of(path)
        _check_rising(rows)
        return f"{len(rows)} rows"

    def _read_data(self, path) -> str:
        files, names = read_stamps(path)
        self._check_mark(path)
        for name, held in {**names}.items():
            if not isinstance(held, list):
                raise ValueError(f"names of {name}: expected a list, got {held!r}")
        for file, stamp in files.items():
            if not (isinstance(stamp, list) and len(stamp) == 3):
                raise ValueError(f"{file}: expected size, time and fingerprint, got {stamp!r}")
        return f"{len(files)} files"

    def _check_events(self):
        count = cut = 0
        files = sorted(self.run.events.rglob("events.*"))
        for path in files:
            name = str(path.relative_to(self.run.path))
            try:
                records, short = count_records(path)
            except ImportError:
                return self._add("tensorboard", NOTE, "not checked, because tensorboard is not installed")
            except (OSError, ValueError) as error:
                if path.is_file() or not self._held:
                    self._add(name, DAMAGED, _one_line(error))
                continue
            if short:
                what = "it is being written" if self._held else "resume writes the file again"
                self._add(name, NOTE, f"the last record is cut off after {records}; {what}")
            count, cut = count + records, cut + short
        if files and count:
            self._add("tensorboard", OK, f"{count} records in {len(files)} files")
        return None

    def _check_images(self):
        count = 0
        for path in _images(self.run.path):
            try:
                read_image(path)
                count += 1
            except BadImage as error:
                if path.is_file() or not self._held:
                    self._add(str(path.relative_to(self.run.path)), DAMAGED, error.reason)
        if count:
            self._add("images", OK, f"{count} charts and predictions")

    def _resume(self) -> str:
        if self.run.ended:
            return "it has ended: nothing is left to resume"
        if self._held:
            return "another process is training it"
        if self._state is None:
            damaged = "no saved state is whole" if self.run.states.files else "it has no saved state"
            return f"cannot be resumed: {damaged}"
        if self.recipe is None or self._changed:
            return f"cannot be resumed: {self._changed[0] if self._changed else 'recipe.yaml'} is damaged or changed"
        position = self._state["memories"]["position"]
        return (
            f"can be resumed (resume={self.run.path}) at epoch {position['epoch'] + 1}, "
            f"after its step {position['step']}"
        )


def _check_described(config: dict, recipe: Recipe):
    """Raise ValueError unless a saved model's description has the heads and the size of a recipe."""
    head = config["head"]
    heads = {next(iter(recipe.parts)): head} if "class_name" in head else head
    if heads.keys() != recipe.parts.keys():
        raise ValueError(f"it has the heads {', '.join(heads)}, the recipe {', '.join(recipe.parts)}")
    for name, part in recipe.parts.items():
        expected, found = catalog.find("heads", part["name"]).symbol, heads[name]["class_name"]
        if found != expected:
            raise ValueError(f"its head {name} is a {found}, the recipe's a {expected}")
    size = (config["preprocess"] or {}).get("size")
    if size is not None and list(size) != list(recipe.data.size):
        raise ValueError(f"its images are of size {size}, the recipe's of {list(recipe.data.size)}")


def _rows_of(path) -> list[dict]:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file, strict=True)
        rows = list(reader)
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():
            raise ValueError(f"row {number} does not have {len(reader.fieldnames)} columns")
        for value in filter(None, row.values()):  # what is missing is empty
            float(value)
    if not rows:
        raise ValueError("it has no rows")
    return rows


def _check_rising(rows):
    steps = [int(row["step"]) for row in rows]
    for number, (one, other) in enumerate(zip(steps, steps[1:], strict=False), start=2):
        if other <= one:
            raise ValueError(f"row {number} has step {other} after {one}")


def _read_json(path) -> str:
    found = json.loads(path.read_text(encoding="utf-8"))
    return f"{len(found)} entries"


def _read_fingerprints(path) -> str:
    lines = path.read_text(encoding="ascii").splitlines() or [""]
    wrong = next((line for line in lines if not re.fullmatch("[0-9a-f]{32}", line)), None)
    if wrong is not None:
        raise ValueError(f"expected 32 hexadecimal digits, got {wrong[:40]!r}")
    return f"{len(lines)} images"


def _images(folder) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.suffix in _IMAGES and not path.name.startswith("."))


def _unknown(folder) -> Iterator[Path]:
    """Files that nothing here looks at."""
    for path in folder.rglob("*"):
        inside = path.relative_to(folder)
        if path.is_dir() or any(is_unfinished(folder / part) for part in inside.parts):
            continue
        known = _KNOWN.fullmatch(inside.as_posix()) or path.name in (RESULTS, "evaluation.json")
        if not known and not path.name.endswith("coco_results.json") and path.suffix not in _IMAGES:
            yield path


def _one_line(error) -> str:
    text = f"missing {error}" if isinstance(error, KeyError) else str(error)
    return " ".join(text.split())[:300] or type(error).__name__


def run_at(place: str) -> RunDirectory:
    """The run at a folder, even if its recipe.yaml is missing; the newest run of a folder that holds several.

    Raises:
        UserError: there is none.
    """
    run = RunDirectory(Path(place).expanduser())
    if any(path.exists() for path in (run.recipe, run.best.parent, run.states.folder, run.metrics)):
        return run
    return RunDirectory.newest(place)
