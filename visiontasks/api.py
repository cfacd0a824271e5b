"""What `import visiontasks as vt` offers. Heavy modules are imported on first use."""

import importlib
import zipfile
from pathlib import Path

from visiontasks import keras_backend
from visiontasks.inference.predictor import Predictor

__all__ = ["Predictor", "backbone", "from_recipe", "load", "load_model"]


def load(path: str | Path, detector: Predictor | None = None) -> Predictor:
    """A Predictor of a saved model: `vt.load("best.keras")("photo.jpg")`.

    Args:
        path: a `.keras` file, or a run's folder with its best checkpoint (in a folder of runs, the newest run's).
        detector: as that of `Predictor`.

    Raises:
        UserError: there is no such file or run.
    """
    from visiontasks.errors import UserError
    from visiontasks.training.run_directory import RunDirectory

    path = Path(path)
    if path.is_dir():
        path = RunDirectory.find(path).checkpoint
    if not path.is_file():
        raise UserError(f"expected a .keras file or a run's folder; {path} does not exist.", "path")
    return Predictor(load_model(path, compile=False), detector=detector)


def load_model(path: str | Path, compile: bool = True):
    """Load a saved VisionModel: `keras.saving.load_model` with this package's classes registered.

    Args:
        path: a `.keras` file.
        compile: also load the optimizer, to continue training.

    Raises:
        UserError: the file is damaged, has code in it, or holds another model.
    """
    from visiontasks.errors import UserError

    keras_backend.require()
    import keras

    model = importlib.import_module("visiontasks.model")  # registers VisionModel, which imports the rest
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no .keras file")
        loaded = keras.saving.load_model(path, compile=compile)  # safe mode: runs no code out of the file
        if not isinstance(loaded, model.VisionModel):
            raise ValueError(f"it holds a {type(loaded).__name__}")
    except MemoryError:
        raise
    except Exception as error:  # Keras, h5py and zipfile raise a dozen kinds for a file that is damaged
        raise UserError(f"{path}: expected a model that visiontasks saved: {error}.") from error
    return loaded


def backbone(name: str, **arguments):
    """A backbone by its recipe name: keras.Model from uint8 images (B, H, W, 3) to {"C1": …, "C5": …}.

    Args:
        name: such as "resnet50" or "efficientnet_lite0".
        **arguments: the constructor's, such as weights="imagenet" (or a path, or None) and input_shape=(256, 256, 3).

    Raises:
        RecipeError: an unknown name or argument; names the nearest.
    """
    from visiontasks.registry import catalog

    part = catalog.find("backbones", name)
    catalog.check_arguments(part, arguments, name)
    keras_backend.require()
    importlib.import_module("visiontasks.model")  # so that `weights` may be a saved VisionModel
    return part.load()(**arguments)


def from_recipe(name: str, *overrides: str, data: str | None = None):
    """The VisionModel of a recipe, with its initial weights: `from_recipe("imagenet")` can predict without training.

    Args:
        name: a shipped recipe's name, or the path of a YAML file.
        *overrides: "backbone.name=resnet50" and the like.
        data: a folder of images that provides the class names if the recipe does not.
    """
    from visiontasks import build

    recipe, _ = build.recipe(name, overrides, data)
    keras_backend.require()
    if data is None and build.pretrained(recipe).complete:  # the weights have class names: no data set is read
        return build.model(recipe)
    if recipe.data.train is not None and any("classes" not in part for part in recipe.parts.values()):
        return build.model(recipe, build.loaders(recipe)[0])
    return build.model(recipe)
