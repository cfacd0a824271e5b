"""What the commands share: reading `key=value` words, help, and errors that a user can mend as one line."""

import os
import sys
from collections.abc import Callable

from absl import logging

from visiontasks.errors import RecipeError, UserError, near

# albumentations asks PyPI for its newest version at import; TensorFlow prints what no user needs
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# with AMX, TensorFlow 2.21 (oneDNN) now and then leaves NaN in the gradient of a bfloat16 convolution
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_FP16")
# grain warns whoever has no JAX that it cannot be profiled there
logging.get_absl_logger().addFilter(lambda record: "jax profiler" not in str(record.msg))


def run(command: Callable[[list[str]], int | None], arguments: list[str] | None, usage: Callable[[], str]):
    """Run a command and leave the process: 0 done, 2 something to mend (one message, no traceback), 130 Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or any(word in ("-h", "--help", "help") for word in arguments):
        print(usage())
        raise SystemExit(0 if arguments else 2)
    try:
        raise SystemExit(command(arguments) or 0)
    except (UserError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        raise SystemExit(130) from None


def words(arguments: list[str], known: tuple[str, ...], open_ended: bool = False) -> tuple[dict[str, str], list[str]]:
    """Split `key=value` words into those of the command and, where `open_ended`, the overrides of a recipe.

    Raises:
        RecipeError: a word without "=", or an unknown key.
    """
    own, rest = {}, []
    for word in arguments:
        key, sign, value = word.partition("=")
        if not sign:
            raise RecipeError(f"{word!r}: expected key=value. {near(key, known)}")
        if key in known:
            own[key] = value
        elif open_ended:
            rest.append(word)
        else:
            raise RecipeError(f"{key}: unknown key. {near(key, known)}")
    return own, rest


def console():
    """A rich Console that prints names of files as they are: their brackets are no markup, their colons no emoji."""
    from rich.console import Console

    return Console(soft_wrap=True, markup=False, emoji=False, highlight=False)


def flag(words: dict[str, str], key: str) -> bool:
    """A true-or-false word.

    Raises:
        RecipeError: it is neither.
    """
    value = words.get(key, "false").lower()
    if value not in ("true", "false"):
        raise RecipeError(f"{key}: expected true or false, got {value!r}.")
    return value == "true"
