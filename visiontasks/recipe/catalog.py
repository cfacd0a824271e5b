"""Finds parts by name: the folder is the registry, and a constructor's signature is the schema of a recipe.

Files are read, not imported (see syntax.py), so that a misspelt name or argument is an error within a second.
"""

import ast
import dataclasses
import functools
import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from visiontasks.arguments import NonNegative, Positive, check, fields_of
from visiontasks.errors import RecipeError, near
from visiontasks.recipe.syntax import REQUIRED, Argument, Class, Module, arguments_of, module, summary

PACKAGE = Path(__file__).parents[1]
FOLDERS = ("heads", "backbones", "data/sources", "data/augment")
BASES = {"heads": "head", "backbones": "backbone", "data/sources": "source", "data/augment": "augmentation"}


@dataclasses.dataclass(frozen=True)
class Part:
    """One selectable part: where it is defined and what its constructor takes."""

    name: str
    module: str
    symbol: str
    arguments: tuple[Argument, ...]
    summary: str
    variant: object = None
    definition: Class | None = None

    def load(self):
        """Import the module and return the constructor (with the variant filled in)."""
        made = getattr(importlib.import_module(self.module), self.symbol)
        return made if self.variant is None else functools.partial(made, self.variant)

    @property
    def task(self) -> str:
        """Of a head: the task whose metrics and drawings it gets."""
        return self.definition.task

    @property
    def any_size(self) -> bool:
        """Of a head: whether it takes images of any size."""
        return self.definition.any_size

    def fields(self, arguments: dict) -> tuple[str, ...]:
        """Of a head: the Sample fields that it learns from, given its arguments; of a named label set as NAME/FIELD."""
        given = {argument.name: argument.default for argument in self.arguments} | arguments
        prefix = f"{given['learns']}/" if given["learns"] else ""
        fields = fields_of(self.definition.fields, self.definition.fields_with, given)
        return tuple(prefix + field for field in fields)


def _key(symbol: str) -> str:
    return symbol.replace("_", "").lower()


@functools.cache
def parts(folder: str) -> dict[str, Part]:
    """Every part of a folder, by name.

    A file offers the class named as the file (`unet.py`: `UNet`), and its public functions that take `weights` (one
    file of a family of backbones: `efficientnet_lite0`, `efficientnet_lite1`, …). A function that has the file's name
    and a literal `NAMES = {name: variant}` beside it is offered once under each of those names, the variant filled in
    as its first argument.
    """
    package, contract = f"visiontasks.{folder.replace('/', '.')}", BASES[folder]
    paths = (path for root in importlib.import_module(package).__path__ for path in Path(root).glob("*.py"))
    stated = module(f"{package}.{contract}")
    classes = [stated[symbol] for symbol in stated.nodes if _key(symbol) == contract]
    shared = {argument.name for definition in classes for argument in arguments_of(definition)}
    found = {}
    for stem in sorted({path.stem for path in paths} - {"__init__", "__main__", contract}):
        found |= _parts_of(module(f"{package}.{stem}"), stem, shared)
    return found


def _parts_of(file: Module, stem: str, shared: set[str]) -> dict[str, Part]:
    found = {}
    for symbol, node in file.nodes.items():
        if symbol.startswith("_") or not isinstance(node, ast.ClassDef | ast.FunctionDef):
            continue
        own, definition = _key(symbol) == _key(stem), file[symbol] if isinstance(node, ast.ClassDef) else None
        arguments = tuple(
            dataclasses.replace(argument, shared=argument.name in shared)
            for argument in (arguments_of(definition) if definition else file.signature(node))
            if argument.name != "name"  # in a recipe that is the part's
        )
        if not (own if definition else "weights" in [argument.name for argument in arguments]):
            continue
        made = Part(stem if own else symbol, file.name, symbol, arguments, summary(node), definition=definition)
        if own and "NAMES" in file.nodes:
            rest = dataclasses.replace(made, arguments=arguments[1:])
            found |= {name: dataclasses.replace(rest, name=name, variant=v) for name, v in file["NAMES"].items()}
        else:
            found[made.name] = made
    return found


def find(folder: str, name: str, where: str = "name") -> Part:
    """The part `name` of a folder ("heads", "backbones", "data/sources").

    Raises:
        RecipeError: there is none; the text offers the near name and lists the choices.
    """
    choices = parts(folder)
    if name not in choices:
        raise RecipeError(f"{where}: unknown name {name!r}. {near(str(name), choices)}")
    return choices[name]


def check_arguments(part: Part, given: dict, where: str, filled: Iterable[str] = ()):
    """Raise unless `given` fits the part's signature; `filled` are arguments that the caller supplies by itself.

    Raises:
        RecipeError: a misspelt argument (with the near name), a missing one, or one of another type than annotated.
    """
    known = {a.name: a for a in part.arguments}
    for key, value in given.items():
        if key not in known:  # what **kwargs would pass on (a layer's dtype, say) is not for recipes
            raise RecipeError(f"{where}.{key}: {part.name} has no argument {key!r}. {near(str(key), known)}")
        check_value(f"{where}.{key}", known[key].annotation, value)
    missing = [a for a in known if known[a].default is REQUIRED and a not in given and a not in set(filled)]
    if missing:
        raise RecipeError(f"{where}: {part.name} needs {', '.join(missing)}; give it as {where}.{missing[0]}=…")


def check_value(where: str, annotation, value):
    """`arguments.check` of what a recipe says under the key `where`.

    Raises:
        RecipeError: it does not fit.
    """
    try:
        check(where, annotation, value)
    except ValueError as error:
        raise RecipeError(str(error)) from None


@functools.cache
def functions(file: str) -> dict[str, Part]:
    """The public functions of one file of this package, such as "training/schedules", by name."""
    source = module(f"visiontasks.{file.replace('/', '.')}")
    return {
        name: Part(name, source.name, name, source.signature(node), summary(node))
        for name, node in source.nodes.items()
        if isinstance(node, ast.FunctionDef) and not name.startswith("_")
    }


def optimizer(name: str, where: str = "train.optimizer.name") -> Part:
    """A Keras optimizer by name in any case ("adamw", "SGD"), read without importing Keras.

    Raises:
        RecipeError: Keras has none of that name.
    """
    exports = module("keras.optimizers").nodes
    known = {symbol.lower(): symbol for symbol in exports if symbol[0].isupper() and symbol not in _NOT_OPTIMIZERS}
    symbol = known.get(name.lower())
    if symbol is None:
        raise RecipeError(f"{where}: unknown name {name!r}. {near(name.lower(), known)}")
    # what all optimizers share comes through **kwargs; it is looked up in their base, so that a slip is still caught
    shared = arguments_of(module("keras.src.optimizers.base_optimizer")["BaseOptimizer"])
    own = {a.name: a for a in (*shared, *arguments_of(module("keras.optimizers")[symbol]))}
    return Part(symbol.lower(), "keras.optimizers", symbol, tuple(map(_annotated, own.values())), "")


_NOT_OPTIMIZERS = ("Optimizer", "LossScaleOptimizer", "MultiOptimizer", "OptimizerMap")


def _annotated(argument: Argument) -> Argument:
    """Keras's optimizers state no types: that of the default is taken, where it says one."""
    kind = float if type(argument.default) is int else type(argument.default)
    kinds = {"learning_rate": Positive, "weight_decay": NonNegative | None}
    annotation = kinds.get(argument.name, kind if kind in (float, bool, str) else Any)
    return dataclasses.replace(argument, annotation=annotation)
