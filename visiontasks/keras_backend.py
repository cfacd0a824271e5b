"""Which backend Keras will start, and which are installed: found out without importing any of them."""

import importlib.util
import json
import os
import sys
from pathlib import Path

from visiontasks.errors import UserError

BACKENDS = ("tensorflow", "jax", "torch")  # if Keras's default is not installed, the first that is takes its place


def installed(module: str) -> bool:
    """Whether a top-level module can be imported; a folder that only has its name cannot."""
    spec = importlib.util.find_spec(module)
    return spec is not None and spec.origin is not None


def writes_events() -> bool:
    """Whether Keras's TensorBoard callback works here: on every backend it needs TensorFlow."""
    return installed("tensorflow") and installed("tensorboard")


def require():
    """Check, before Keras is imported, that the backend it will start is installed.

    Raises:
        UserError: it is not; says what to set or to install.
    """
    name, default = _next()
    here = _here()
    if "keras" in sys.modules or name in here:
        return
    if not here:
        raise UserError('Keras needs a backend; pip install "visiontasks[tensorflow]", or [jax] or [torch] instead.')
    text = f"expected a backend that is installed ({', '.join(here)}); got {name}{', the default' * default}."
    if name in BACKENDS:
        text += f' pip install "visiontasks[{name}]" installs it.'
    raise UserError(text, "KERAS_BACKEND", here[0])


def choose() -> str:
    """Set KERAS_BACKEND if Keras's default backend is not installed and another one is; a sentence that says so, or "".

    Raises:
        UserError: none is installed, or KERAS_BACKEND asks for one that is not.
    """
    name, default = _next()
    here = _here()
    if "keras" in sys.modules or name in here or not default or not here:
        require()
        return ""
    os.environ["KERAS_BACKEND"] = here[0]
    return f"Keras's backend: {here[0]}, because {name} is not installed (KERAS_BACKEND chooses another)"


def chosen() -> str:
    """The name of the backend that Keras will start."""
    return _next()[0]


def _here() -> list[str]:
    return [backend for backend in BACKENDS if installed(backend)]


def _next() -> tuple[str, bool]:
    """(the backend that Keras will start, whether nobody asked for it by KERAS_BACKEND): as Keras finds it."""
    if asked := os.environ.get("KERAS_BACKEND"):
        return asked, False
    home = os.path.expanduser("~")
    home = os.path.join(home if os.access(home, os.W_OK) else "/tmp", ".keras")
    file = Path(os.path.expanduser(os.environ.get("KERAS_HOME", home))) / "keras.json"
    try:  # Keras writes this file, with "tensorflow" in it, when it is first imported
        return json.loads(file.read_text(encoding="utf-8"))["backend"], True
    except (OSError, ValueError, KeyError, TypeError):
        return "tensorflow", True
