"""What the commands share: `key=value` arguments, help, signals, a quiet start, and one-line errors for users."""

import contextlib
import errno
import importlib
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from visiontasks import keras_backend, signals, standard_streams
from visiontasks.errors import RecipeError, UserError, near, under
from visiontasks.memory_advice import out_of_memory

# a full, read-only or failing disk, a quota, a file of another user; a disk that is gone, or one of the network that
# does not reply. Windows does not have all of them
_DISK = (
    "ENOSPC EROFS EIO EDQUOT EFBIG EACCES EPERM ENODEV ENXIO ESTALE ETIMEDOUT EHOSTDOWN ENOTCONN ENOTDIR ELOOP EBUSY"
)
_DISK = {getattr(errno, name) for name in _DISK.split() if hasattr(errno, name)}
_TOO_MANY = (errno.EMFILE, errno.ENFILE)
HELP = ("-h", "--help", "help")


def run(command: Callable[[list[str]], int | None], arguments: list[str] | None, usage: Callable[[], str]):
    """Run a command and exit: 0 for success, 2 for a user's error (a message without traceback), 130 after a signal.

    `--help` prints `usage()`, `--help TOPIC` a page of `visiontasks.help`.
    """
    arguments, stop = sys.argv[1:] if arguments is None else arguments, signals.Raising()
    standard_streams.prepare()
    try:
        if not arguments or any(word in HELP for word in arguments):
            print_help(usage, [word for word in arguments if word not in HELP and "=" not in word])
            raise SystemExit(0 if arguments else 2)
        _set_environment()
        if chosen := keras_backend.choose():
            standard_streams.console().print(chosen)
        with signals.forced(), stop.handling(), _plain_warnings():
            code = command(arguments) or 0
            stop.check()
        raise SystemExit(code)
    except (UserError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt as stopped:
        _end_stopped(str(stopped))
    except BrokenPipeError:  # a pipe such as `| head` has closed
        raise SystemExit(0) from None
    except Exception as error:
        if stop.asked:  # a library has made another exception of it
            _end_stopped(stop.asked)
        if not (text := _explained(error)):
            raise
        print(f"error: {text}", file=sys.stderr)
        raise SystemExit(2) from None
    finally:
        standard_streams.finish()


@contextlib.contextmanager
def _plain_warnings():
    """Print a warning to users as a line of its own, without the line of code that it comes from."""
    before = warnings.formatwarning

    def plain(message, category, *where, **named):
        of_users = issubclass(category, UserWarning)
        return f"warning: {message}\n" if of_users else before(message, category, *where, **named)

    warnings.formatwarning = plain
    try:
        yield
    finally:
        warnings.formatwarning = before


def _end_stopped(by: str):
    print("stopped" + f" by {by}" * bool(by), file=sys.stderr)
    raise SystemExit(signals.CODE) from None


def _explained(error: Exception) -> str:
    """What a user can do about an error of the machine: its memory, disk or kernels; "" of any other error."""
    from visiontasks.training import determinism

    if determinism.refused(error):
        return (
            f"train.deterministic: an operation of this network has no kernel that gives the same bits each time "
            f"({str(error).strip().splitlines()[0]}). Set train.deterministic=false, or train.devices=cpu."
        )
    if text := out_of_memory(error):
        return (
            f"out of memory ({text}). Set a smaller batch (train: data.batch; evaluate, "
            "predict: batch), a smaller data.size, or fewer data.workers."
        )
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return f"{error.filename}: expected a path that the file system takes, got one that is too long."
    if isinstance(error, OSError) and error.errno in _TOO_MANY:
        return f"{error.strerror}. Raise the limit of open files (ulimit -n 4096), or set fewer data.workers."
    if isinstance(error, FileNotFoundError) and "usable temporary directory" in str(error):
        return f"{error.strerror}. Free the disk, or set TMPDIR to a folder that can be written."
    if isinstance(error, OSError) and error.errno in _DISK:
        return (
            f"cannot read or write {error.filename or 'a file'}: {error.strerror}. Free the disk, or give another "
            "folder for results (train: run.dir; evaluate, predict, check: out)."
        )
    return ""


def print_help(usage: Callable[[], str], topics: list[str]):
    """Print the usage of a command, or the pages of help for `topics`.

    Raises:
        UserError: there is no such page; names the nearest.
    """
    from visiontasks import help

    print("\n\n".join(map(help.page, topics)) if topics else f"{usage()}\n\n{help.TOPICS}")


def _set_environment():
    """Settings that must be made before TensorFlow, albumentations and grain are imported."""
    from absl import logging

    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks PyPI for its newest version at import
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # with AMX, TensorFlow 2.21 (oneDNN) sometimes has NaN in the gradient of a bfloat16 convolution
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_FP16")
    logging.get_absl_logger().addFilter(_no_profiler_warning)


def _no_profiler_warning(record):
    """Filter grain's warning that it cannot be profiled without JAX."""
    return "jax profiler" not in str(record.msg)


def start_keras(asked: str = "auto", events: bool = False) -> float | None:
    """Import Keras and list the devices, without the log of its backend's start; the GPUs' compute capability.

    Args:
        asked: a recipe's `devices`; if "gpu" and there is none, the log is shown, because it says why.
        events: whether TensorBoard's events will be written, for which TensorFlow starts on every backend.

    Raises:
        UserError: `asked` is "gpu" and the backend sees none.
    """
    if asked == "gpu":
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "1"  # a missing CUDA library is a warning
    with standard_streams.quiet():
        import keras  # noqa: F401

        if events and keras_backend.writes_events():
            importlib.import_module("tensorflow").config.list_physical_devices()

        from visiontasks.training import devices

        capability = devices.gpu_capability()
        devices.check(asked, capability)
    return capability


def words(arguments: list[str], known: tuple[str, ...], open_ended: bool = False) -> tuple[dict[str, str], list[str]]:
    """Split `key=value` words into the command's and, if `open_ended`, the overrides of a recipe.

    Raises:
        RecipeError: a word without "=", or an unknown key.
    """
    values, overrides = {}, []
    for word in arguments:
        key, sign, value = word.partition("=")
        if not sign:
            raise RecipeError(f"{word!r}: expected key=value. {near(key, known)}")
        if key in known:
            values[key] = value
        elif open_ended:
            overrides.append(word)
        else:
            raise RecipeError(f"{key}: unknown key. {near(key, known)}")
    return values, overrides


def flag(words: dict[str, str], key: str) -> bool:
    """The value of a true-or-false word.

    Raises:
        RecipeError: it is neither.
    """
    value = words.get(key, "false").lower()
    if value not in ("true", "false"):
        raise RecipeError(f"{key}: expected true or false, got {value!r}.")
    return value == "true"


def number(words: dict[str, str], key: str, default, kind: type = int):
    """The value of a word that is a number of a kind, int or float; one of kind int is 1 or more.

    Raises:
        RecipeError: it is none.
    """
    try:
        value = kind(words.get(key, default))
    except ValueError:
        raise RecipeError(f"{key}: expected a number, got {words[key]!r}.") from None
    if kind is int and value < 1:
        raise RecipeError(f"{key}: expected 1 or more, got {value}.")
    return value


def size(text: str) -> tuple[int, int]:
    """The value of the word `size`, (height, width).

    Raises:
        RecipeError: it is not of that form.
    """
    numbers = text.strip("[] ").split(",")
    if len(numbers) != 2 or not all(number.strip().isdecimal() and int(number) for number in numbers):
        raise RecipeError(f"size: expected height,width such as 224,224; got {text!r}.")
    return tuple(map(int, numbers))


def check_origin(words: dict[str, str], overrides: list[str], source: str | None = "FILE|DIR|GLOB"):
    """Check that the words name one network, by `run` or by `recipe` and its overrides, and a source.

    Args:
        words, overrides: of `words`.
        source: what the source may be, for the message; None if there need be none.

    Raises:
        UserError: one is missing, or they contradict each other.
    """
    if (source and "source" not in words) or ("run" in words) == ("recipe" in words):
        needed = f"source={source} and " if source else ""
        raise UserError(f"expected {needed}either run=DIR or recipe=NAME.")
    if "run" in words and overrides:
        raise UserError(f"{overrides[0]}: a run's checkpoint is used as it was trained; overrides go with recipe=.")


def model(words: dict[str, str], overrides: list[str], console):
    """The VisionModel of `run`, its best checkpoint, or of `recipe` and its overrides, with weights for all of it."""
    from visiontasks import build, model_loading
    from visiontasks.training.run_directory import RunDirectory

    if "run" in words:
        checkpoints = RunDirectory.find(words["run"]).checkpoints_for()
        start_keras()
        checkpoint, loaded = model_loading.load_first(checkpoints)
        console.print(f"checkpoint: {checkpoint}")
        return loaded
    recipe, _ = build.recipe(words["recipe"], overrides)
    build.check_complete(recipe)
    start_keras()
    return build.model(recipe)


def predictor(name: str, console):
    """The Predictor that detects objects: of a run's folder, of a `.keras` file, or of a recipe with weights."""
    from visiontasks import api, build, model_loading
    from visiontasks.training.run_directory import RunDirectory

    path = Path(name)
    if path.exists():
        checkpoints = RunDirectory.find(path, "detector").checkpoints_for("detector") if path.is_dir() else [path]
        start_keras()
        checkpoint, loaded = model_loading.load_first(checkpoints)
        console.print(f"detector: {checkpoint}")
        return api.Predictor(loaded)
    recipe, _ = build.recipe(name)
    with under("detector"):
        build.check_complete(recipe)
    start_keras()
    return api.Predictor(build.model(recipe))
