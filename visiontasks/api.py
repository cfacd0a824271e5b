"""What `import visiontasks as vt` offers. Heavy modules are imported on first use."""

import importlib
from pathlib import Path

from visiontasks import keras_backend
from visiontasks.inference.predictor import Predictor
from visiontasks.model_loading import load_first, load_model

__all__ = ["Predictor", "backbone", "from_recipe", "load", "load_model"]


def load(path: str | Path, detector: Predictor | None = None) -> Predictor:
    """A Predictor of a saved model: `vt.load("best.keras")("photo.jpg")`.

    Args:
        path: a `.keras` file, or a run's folder with its best checkpoint (in a folder of runs, the newest run's).
        detector: as that of `Predictor`.

    Raises:
        UserError: there is no such file or run, or it holds no model that can be loaded.
    """
    from visiontasks.errors import UserError
    from visiontasks.training.run_directory import RunDirectory

    path = Path(path)
    if path.is_dir():
        return Predictor(load_first(RunDirectory.find(path).checkpoints_for())[1], detector=detector)
    if not path.is_file():
        raise UserError(f"expected a .keras file or a run's folder; {path} does not exist.", "path")
    return Predictor(load_model(path, compile=False), detector=detector)


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
    from visiontasks import build, initializing

    recipe, _ = build.recipe(name, overrides, data)
    initial = None if recipe.init is None else initializing.Initial.of(recipe.init)
    keras_backend.require()
    # weights with class names need no data set
    known = data is None and initial is None and build.pretrained(recipe).complete
    unnamed = recipe.data.train is not None and any("classes" not in part for part in recipe.parts.values())
    loader = build.loaders(recipe)[0] if unnamed and not known else None
    if initial is None:
        return build.model(recipe, loader)
    initial.check(recipe)
    return initial.model(recipe, loader)[0]
