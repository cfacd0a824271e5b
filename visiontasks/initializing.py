"""The trained weights that a new run starts from: a recipe's `init`."""

import dataclasses
import hashlib
from pathlib import Path

from visiontasks import build
from visiontasks.errors import UserError
from visiontasks.recipe.reading import read
from visiontasks.recipe.schema import Recipe
from visiontasks.registry import catalog
from visiontasks.training.run_directory import RunDirectory
from visiontasks.weights.keras_file import check_keras_file

# of a backbone's arguments, those that change nothing of what its weights mean
_FREE = ("name", "weights", "input_shape", "strict", "drop_connect")


@dataclasses.dataclass(frozen=True)
class Initial:
    """Trained weights to start from.

    Attributes:
        paths: `.keras` files of one training, the one to take first.
        recipe: that of its run, if the files lie in one.
    """

    paths: tuple[Path, ...]
    recipe: Recipe | None

    @classmethod
    def of(cls, place: str | Path) -> "Initial":
        """That of a run's folder, of the newest run with a checkpoint in a folder of runs, or of a `.keras` file.

        Raises:
            UserError: there is none, or it is damaged.
        """
        place = Path(place).expanduser()
        if place.is_dir():
            run = RunDirectory.find(place, "init")
            return cls(tuple(path.resolve() for path in run.checkpoints_for("init")), _recipe_of(run))
        if not place.is_file():
            raise UserError(f"expected a run's folder or a .keras file; {place} does not exist.", "init")
        try:
            check_keras_file(place)
        except ValueError as error:
            raise UserError(f"{place} is no trained model that can be read: {error}.", "init") from error
        path = place.resolve()
        run = RunDirectory(path.parent.parent)
        return cls((path,), _recipe_of(run) if path in (run.best, run.last) else None)

    def check(self, recipe: Recipe):
        """Raise, before Keras is imported, if the recipe of these weights has another backbone.

        Raises:
            UserError: names what differs and what to set.
        """
        if self.recipe is None:
            return
        there, here = (_whole(one.backbone) for one in (self.recipe, recipe))
        keys = [key for key in sorted(there | here) if there.get(key) != here.get(key)]
        if there["name"] != here["name"]:
            keys = ["name"]
        if keys:
            differ = "; ".join(f"backbone.{key} is {there.get(key)} in the file, {here.get(key)} here" for key in keys)
            fix = " ".join(f"backbone.{key}={_text(there.get(key))}" for key in keys)
            raise UserError(f"{self.paths[0]} has another backbone: {differ}. Set {fix}, or leave init out.", "init")

    def load(self):
        """(the file that was loaded, its VisionModel).

        Raises:
            UserError: it is damaged, has code in it, or is no VisionModel.
        """
        from visiontasks.model_loading import load_first

        try:
            return load_first(self.paths)
        except UserError as error:
            error.argument = "init"
            raise

    def model(self, recipe: Recipe, loader=None):
        """(the VisionModel of a recipe with these weights, the recipe as its run keeps it, the file, lines about it).

        Pretrained weights of the recipe are loaded only where these have none for some layers, or where a network that
        is built for them is another one; otherwise the recipe that is returned has none.

        Raises:
            UserError: the weights cannot be loaded, or are of another backbone; names the difference.
        """
        from visiontasks.backbones.matching import difference
        from visiontasks.model_transfer import take
        from visiontasks.training.random_state import random_states, set_random_states

        states = random_states()
        path, saved = self.load()
        recipe = recipe.replace(init=str(path))
        plain = recipe.replace(backbone={**recipe.backbone, "weights": None}, weights=None)
        if "weights" not in recipe.backbone:
            plain.backbone.pop("weights")
        found, differs = None, ""
        for one in (plain, recipe) if plain != recipe else (plain,):
            set_random_states(states)  # what is re-initialized is as it would be without `init`
            model = build.model(one, loader)
            differs = difference(saved.backbone, model.backbone)
            if differs:
                continue
            found = model, one, take(model, saved)
            if found[-1].whole:
                break
        if found is None:
            raise UserError(
                f"{path} has another backbone than this recipe builds: {differs}. Give the recipe the backbone of that "
                "training, with the same arguments and kind of weights, or leave init out.",
                "init",
            )
        model, one, taken = found
        ema = self.recipe and self.recipe.train.ema
        averaged = f" (moving averages of the weights, ema={ema})" if ema else ""
        return model, one, path, [f"weights of {path}{averaged}:", *(f"  {line}" for line in taken.lines)]


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_weights(model, path: str | Path) -> list[str]:
    """Give a VisionModel the weights of a trained one: the backbone's, and those of heads with the same classes.

    What the command `train … init=` does. A head with other classes, or weights of other shapes, keeps its own.

    Args:
        model: the VisionModel.
        path: a `.keras` file, or a run's folder (in a folder of runs, the newest with a checkpoint).

    Returns:
        A line for the backbone and for each head: what was taken, or why it was not.

    Raises:
        UserError: no such file or run, it is damaged or has code in it, or its backbone is another one.
    """
    from visiontasks.backbones.matching import difference
    from visiontasks.model_transfer import take

    try:
        path, saved = Initial.of(path).load()
    except UserError as error:
        error.argument = "path"
        raise
    if differs := difference(saved.backbone, model.backbone):
        raise UserError(f"{path} has another backbone: {differs}. Build the model with that one.", "path")
    return take(model, saved).lines


def _recipe_of(run: RunDirectory) -> Recipe | None:
    try:
        return read(str(run.recipe))
    except (UserError, OSError):  # of another version, or damaged: the networks themselves are compared
        return None


def _whole(backbone: dict) -> dict:
    """A backbone's arguments with the defaults of those not given, as far as they matter."""
    part = catalog.find("backbones", backbone["name"])
    arguments = {argument.name: argument.default for argument in part.arguments} | backbone
    return {"name": backbone["name"]} | {k: _plain(v) for k, v in arguments.items() if k not in _FREE}


def _plain(value):
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def _text(value) -> str:
    return "null" if value is None else str(value).replace(" ", "")
