"""Loads saved models, and of a run the best checkpoint that can be loaded. No code in a file runs."""

import importlib
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

from visiontasks import keras_backend
from visiontasks.errors import UserError
from visiontasks.weights.keras_file import check_keras_file, reason

# what TensorFlow's graphs take as a layer's name, and as that of the model, which comes first
_NAME, _FIRST = re.compile(r"[A-Za-z0-9_.>-]+"), re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.>-]*")


def load_model(path: str | Path, compile: bool = True):
    """Load a saved VisionModel: `keras.saving.load_model` with this package's classes registered.

    Args:
        path: a `.keras` file.
        compile: also load the optimizer, if the file has one: of a compiled model that `model.save` wrote. A run's
            checkpoints have none; `train resume=RUN` goes on with a training.

    Raises:
        UserError: the file is damaged, has code in it, unpacks to far more than its size, holds another model, or one
            whose layers have names that the backend does not take.
    """
    keras_backend.require()
    import keras

    model = importlib.import_module("visiontasks.model")  # registers VisionModel, which imports the rest
    try:
        check_keras_file(path)
        loaded = keras.saving.load_model(path, compile=compile)  # safe mode: runs no code out of the file
        if not isinstance(loaded, model.VisionModel):
            raise ValueError(f"it holds a {type(loaded).__name__}")
        _check_names(loaded)
    except MemoryError:
        raise
    except Exception as error:  # Keras, h5py and zipfile raise a dozen kinds for a file that is damaged
        raise UserError(f"{path}: expected a model that visiontasks saved: {reason(error)}.") from error
    return loaded


def _check_names(model):
    """Raise for a name that the backend takes as the model is made, and refuses as it is called."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return
    for layer in model._flatten_layers():
        if not (_FIRST if layer is model else _NAME).fullmatch(layer.name):
            raise ValueError(f"its layer {layer.name!r} has a name that TensorFlow does not take")


def load_first(paths: Sequence[Path]):
    """(the first of these files that can be loaded, its VisionModel, not compiled); a warning names those before it.

    Args:
        paths: at least one.

    Raises:
        UserError: none can be loaded; it is the first one's.
    """
    errors = []
    for path in paths:
        try:
            found = path, load_model(path, compile=False)
        except UserError as error:
            errors.append(error)
            continue
        if errors:
            warnings.warn(f"{'; '.join(map(str, errors))} {path.name} is used instead", stacklevel=2)
        return found
    raise errors[0]
