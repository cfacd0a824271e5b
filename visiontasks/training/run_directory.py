"""A run's folder: `runs/RECIPE/TIME/` with the recipe, checkpoints, metrics, curves, images and a summary."""

import errno
import hashlib
import json
import os
import time
import warnings
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path

from visiontasks.data.layout import RESULTS
from visiontasks.errors import UserError
from visiontasks.training.generations import Generations
from visiontasks.weights.keras_file import check_keras_file

MODEL = "VisionModel"  # the class that Keras writes into its file
_TAKEN = (errno.EACCES, errno.EAGAIN)  # what the system says of a lock that another one has
_TRIES, _MOMENT = 5, 0.02  # seconds
_locks = weakref.WeakSet()  # the files that this process holds


def _let_go():
    """A forked process has its parent's open files: it would hold the run on when the parent has ended."""
    for file in _locks:
        file.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


class RunDirectory:
    """The folder that one run writes to.

    Attributes:
        path: the folder itself.
        best, last: the checkpoint files.
        states: the saved states that training can go on from.
        events: the folder for TensorBoard.
        metrics: the CSV file with a row per epoch.
        learning_rate: the CSV file with the learning rate by step.
        curves: the chart of both.
        skipped: the names of all images that were skipped or mended, if any.
        trained_on: fingerprints of the training images that are files.
        data: names, sizes and times of the data's files, and the class names.
        summary: what came of it.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self.best = self.path / "checkpoints" / "best.keras"
        self.last = self.path / "checkpoints" / "last.keras"
        self.states = Generations(self.path / "state")
        self.events = self.path / "tensorboard"
        self.metrics = self.path / "metrics.csv"
        self.learning_rate = self.path / "learning_rate.csv"
        self.curves = self.path / "curves.png"
        self.recipe = self.path / "recipe.yaml"
        self.skipped = self.path / "skipped.txt"
        self.trained_on = self.path / "trained_on.txt"
        self.data = self.path / "data.json"
        self.summary = self.path / "summary.json"
        self._lock = None

    @classmethod
    def create(cls, root: Path, recipe: str) -> "RunDirectory":
        """Create a new folder under `root`/`recipe`, named by the time.

        Raises:
            UserError: the folder cannot be written.
        """
        stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
        for suffix in ("", *(f"_{n}" for n in range(2, 1000))):
            run = cls(Path(root) / recipe / (stamp + suffix))
            try:
                run.path.mkdir(parents=True)
            except FileExistsError:
                continue
            except OSError as error:
                raise UserError(f"cannot write to {root}: {error.strerror}. Give another folder.", "dir") from error
            run.best.parent.mkdir()
            (run.path / RESULTS).touch()
            return run
        raise UserError(f"{root} already has a thousand runs of this second.", "dir")

    @classmethod
    def find(cls, path: Path | str, argument: str = "run") -> "RunDirectory":
        """An existing run; in a folder with several runs, the newest that has a checkpoint.

        Args:
            path: the folder.
            argument: what chose it, for the error.

        Raises:
            UserError: there is no run.
        """
        runs = cls._newest(path, argument)
        return next((run for run in runs if any(run._whole())), runs[0])

    @classmethod
    def newest(cls, path: Path | str) -> "RunDirectory":
        """The newest run in a folder, whatever it holds.

        Raises:
            UserError: there is none.
        """
        return cls._newest(path, "run")[0]

    @classmethod
    def resumable(cls, path: Path | str, hold: bool = True) -> "RunDirectory":
        """An existing run with a saved state, held; of several, the newest that has not ended, or the newest.

        Args:
            path: the run's folder, or one that holds several.
            hold: false in a process that trains together with the one that holds it.

        Raises:
            UserError: there is no run, none has a state, or other processes train those that have.
        """
        runs = [run for run in cls._newest(path, "resume") if run.states.files]
        for run in (*(run for run in runs if not run.ended), *runs):
            if not hold or run.hold():
                return run
        if runs:
            raise UserError(f"another process is training {runs[0].path}. Wait until it ends, or stop it.", "resume")
        raise UserError(
            f"{path} has no saved state: training stopped before its first was saved, or was of an older version. "
            "Train again.",
            "resume",
        )

    @classmethod
    def _newest(cls, path, argument) -> list["RunDirectory"]:
        path = Path(path).expanduser()
        recipes = [path / "recipe.yaml"] if (path / "recipe.yaml").is_file() else sorted(path.glob("**/recipe.yaml"))
        if not recipes:
            raise UserError(f"{path} is not a run (it has no recipe.yaml). Runs are under runs/RECIPE/TIME.", argument)
        return [cls(one.parent) for one in sorted(recipes, key=lambda one: one.stat().st_mtime, reverse=True)]

    @property
    def marks(self) -> dict[str, str]:
        """{name: SHA-256} of the files that say how the run trains and on what: they stay as they are."""
        files = [path for path in (self.recipe, self.data) if path.is_file()]
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    def hold(self) -> bool:
        """Keep others from training this run until `release`; False if one trains it, be it this process's.

        The system lets go of it however the process ends. Where the file system has no locks, nothing is held.
        """
        if self._lock is not None:
            return True
        try:
            import fcntl
        except ImportError:  # Windows
            return True
        file = open(self.path / "lock", "a")  # noqa: SIM115 (closing it would let go)
        for tries in range(_TRIES):
            try:
                # of an open file: one of POSIX would go as soon as anything in this process closes the file
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in _TAKEN:
                    file.close()
                    return True
                if tries + 1 < _TRIES:  # whoever asks `held` has it for a moment
                    time.sleep(_MOMENT)
        else:
            file.close()
            return False
        self._lock = file
        _locks.add(file)
        return True

    def release(self):
        """Let go of the run: what keeps this object, such as the traceback of an error, does not keep the run."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def held(self) -> bool:
        """Whether something else than this object trains this run. To ask keeps nobody from it."""
        if self._lock is not None:
            return False
        try:
            import fcntl

            with open(self.path / "lock", "rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except ImportError:
            return False
        except OSError as error:  # there is no lock, or who may not read it asks in vain
            return error.errno in _TAKEN
        return False

    @property
    def ended(self) -> bool:
        """Whether it came to its end, the evaluation included."""
        return "metrics" in self._summary()

    @property
    def begun(self) -> dict:
        """What its summary says since it began: the weights that it started from, if any."""
        return {key: value for key, value in self._summary().items() if key == "init"}

    def _summary(self) -> dict:
        try:
            found = json.loads(self.summary.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def checkpoint(self) -> Path:
        """The first of `checkpoints_for`, which says more."""
        return self.checkpoints_for()[0]

    def checkpoints_for(self, argument: str = "run") -> list[Path]:
        """The checkpoints that are whole, the best one first; with a warning if the best is damaged.

        Args:
            argument: what chose the run, for the error.

        Raises:
            UserError: the run has none, or none that is whole; says why.
        """
        whole, damaged = [], []
        for path in filter(Path.is_file, (self.best, self.last)):
            try:
                _check(path)
                whole.append(path)
            except ValueError as error:
                damaged.append(f"{path} cannot be used: {error}")
        if whole and damaged and whole == [self.last]:
            warnings.warn(f"{damaged[0]}; {whole[0].name} is used instead", stacklevel=2)
        if whole:
            return whole
        if damaged:
            raise UserError(f"{damaged[0]}. Give another run, or train again.", argument)
        raise UserError(f"{self.path} has no checkpoint; it stopped before the end of its first epoch.", argument)

    def _whole(self) -> Iterator[Path]:
        return filter(_is_whole, (self.best, self.last))


def differing(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The names of files whose `marks` differ, of those that had one."""
    return [name for name, mark in before.items() if now.get(name) != mark]


def _is_whole(path: Path) -> bool:
    try:
        _check(path)
    except ValueError:
        return False
    return True


def _check(path: Path):
    """Raise ValueError unless a file is whole and, as far as can be seen without Keras, holds a VisionModel."""
    if (kind := check_keras_file(path).get("class_name")) != MODEL:
        raise ValueError(f"it holds a {kind}, no {MODEL}")
