"""Finds parts by name: the folder is the registry, and a constructor's signature is the schema of a recipe.

Files are parsed, not imported (see syntax.py), so that a misspelled name or argument is reported within a second.
"""

import ast
import dataclasses
import functools
import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from visiontasks.arguments import NonNegative, Positive, check, fields_of, task_of
from visiontasks.errors import RecipeError, UserError, near
from visiontasks.registry.syntax import REQUIRED, Argument, Class, Module, arguments_of, docstring, module

PACKAGE = Path(__file__).parents[1]
FOLDERS = ("heads", "backbones", "data/sources", "data/augment")
BASES = {"heads": "head", "backbones": "backbone", "data/sources": "source", "data/augment": "augmentation"}


@dataclasses.dataclass(frozen=True)
class Part:
    """One selectable part: its definition and its constructor's arguments."""

    name: str
    module: str
    symbol: str
    arguments: tuple[Argument, ...]
    doc: str = ""
    variant: object = None
    definition: Class | None = None

    def load(self):
        """Import the module and return the constructor (with its variant bound)."""
        made = getattr(importlib.import_module(self.module), self.symbol)
        return made if self.variant is None else functools.partial(made, self.variant)

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return self.doc.split("\n")[0]

    def task(self, arguments: dict) -> str:
        """Of a head: the task that provides metrics and drawings, given its arguments."""
        given = {argument.name: argument.default for argument in self.arguments} | arguments
        return task_of(self.definition.task, self.definition.tasks_with, given)

    @property
    def any_size(self) -> bool:
        """Of a head: whether it takes images of any size."""
        return self.definition.any_size

    @property
    def alone(self) -> bool:
        """Of a head: whether it looks at one object that fills the image."""
        return self.definition.alone

    @property
    def by_gradients(self) -> bool:
        """Of a head: whether it learns by gradients; otherwise by statistics, in one pass."""
        return self.definition.by_gradients

    def fields(self, arguments: dict) -> tuple[str, ...]:
        """Of a head: the Sample fields that it learns from, given its arguments; NAME/FIELD for a named label set."""
        given = {argument.name: argument.default for argument in self.arguments} | arguments
        prefix = f"{given['learns']}/" if given["learns"] else ""
        fields = fields_of(self.definition.fields, self.definition.fields_with, given)
        return tuple(prefix + field for field in fields)

    @property
    def scoring_fields(self) -> tuple[str, ...]:
        """Of a head: the fields that its metrics use where the data have them."""
        return self.definition.scoring_fields


def _key(symbol: str) -> str:
    return symbol.replace("_", "").lower()


@functools.cache
def parts(folder: str) -> dict[str, Part]:
    """Every part of a folder, by name.

    A file offers the class with its name (`unet.py`: `UNet`), and its public functions with an argument `weights` (a
    family of backbones: `efficientnet_lite0`, `efficientnet_lite1`, …). If a file has a literal
    `NAMES = {name: variant}`, the function with the file's name is offered under each of these names, with the variant
    as its first argument.
    """
    package, contract = f"visiontasks.{folder.replace('/', '.')}", BASES[folder]
    paths = (path for root in importlib.import_module(package).__path__ for path in Path(root).glob("*.py"))
    base = module(f"{package}.{contract}")
    classes = [base[symbol] for symbol in base.nodes if _key(symbol) == contract]
    shared = {argument.name for definition in classes for argument in arguments_of(definition)}
    stems = sorted({path.stem for path in paths} - {"__init__", "__main__", contract})
    return {name: part for stem in stems for name, part in _parts_of(module(f"{package}.{stem}"), stem, shared).items()}


def _parts_of(file: Module, stem: str, shared: set[str]) -> dict[str, Part]:
    offered = {}
    for symbol, node in file.nodes.items():
        if symbol.startswith("_") or not isinstance(node, ast.ClassDef | ast.FunctionDef):
            continue
        is_main, definition = _key(symbol) == _key(stem), file[symbol] if isinstance(node, ast.ClassDef) else None
        arguments = tuple(
            dataclasses.replace(argument, shared=argument.name in shared)
            for argument in (arguments_of(definition) if definition else file.signature(node))
            if argument.name != "name"  # a recipe's key for the part
        )
        if not (is_main if definition else "weights" in [argument.name for argument in arguments]):
            continue
        part = Part(stem if is_main else symbol, file.name, symbol, arguments, docstring(node), definition=definition)
        if is_main and "NAMES" in file.nodes:
            rest = dataclasses.replace(part, arguments=arguments[1:])
            offered |= {name: dataclasses.replace(rest, name=name, variant=v) for name, v in file["NAMES"].items()}
        else:
            offered[part.name] = part
    return offered


def find(folder: str, name: str, where: str = "name") -> Part:
    """The part `name` of a folder ("heads", "backbones", "data/sources").

    Raises:
        RecipeError: there is none; the text names the nearest and lists the choices.
    """
    choices = parts(folder)
    if name not in choices:
        raise RecipeError(f"unknown name {name!r}. {near(str(name), choices)}", where)
    return choices[name]


def check_arguments(part: Part, given: dict, where: str, filled: Iterable[str] = ()):
    """Raise unless `given` fits the part's signature; `filled` are arguments that the caller supplies.

    Raises:
        RecipeError: an unknown argument (with the nearest name), a missing one, or an invalid value.
    """
    known = {a.name: a for a in part.arguments}
    for key, value in given.items():
        if key not in known:  # arguments of **kwargs, such as a layer's dtype, are not for recipes
            raise RecipeError(f"{part.name} has no argument {key!r}. {near(str(key), known)}", f"{where}.{key}")
        check_value(f"{where}.{key}", known[key].annotation, value)
    missing = [a for a in known if known[a].default is REQUIRED and a not in given and a not in set(filled)]
    if missing:
        raise RecipeError(f"missing; {part.name} needs {', '.join(missing)}.", f"{where}.{missing[0]}")


def check_value(where: str, annotation, value):
    """`arguments.check` for a recipe's value of the key `where`.

    Raises:
        RecipeError: it does not fit.
    """
    try:
        check(where, annotation, value)
    except UserError as error:
        raise RecipeError(error.args[0], where) from None


def task(name: str) -> Part:
    """The Task of a head's `task`, such as "detection": the class `Name` of `evaluation/tasks/NAME.py`."""
    file, symbol = module(f"visiontasks.evaluation.tasks.{name}"), name.title().replace("_", "")
    return Part(name, file.name, symbol, (), definition=file[symbol])


def tasks_of(model, fields: Iterable[str] = ()) -> dict:
    """{head name: Task} of a VisionModel, with the heads' class names and label sets.

    Args:
        model: the VisionModel.
        fields: of the data, by which a head without `learns` finds its label set.
    """
    return {
        name: task(head.task).load()(head.classes, head.prefix(fields).rstrip("/"), head.skeleton)
        for name, head in model.heads.items()
    }


@functools.cache
def functions(file: str) -> dict[str, Part]:
    """The public functions of one file of this package, such as "training/schedules", by name."""
    source = module(f"visiontasks.{file.replace('/', '.')}")
    return {
        name: Part(name, source.name, name, source.signature(node), docstring(node))
        for name, node in source.nodes.items()
        if isinstance(node, ast.FunctionDef) and not name.startswith("_")
    }


def optimizer(name: str, where: str = "name") -> Part:
    """A Keras optimizer by name in any case ("adamw", "SGD"), read without importing Keras.

    Raises:
        RecipeError: Keras has no optimizer of that name.
    """
    exports = module("keras.optimizers").nodes
    known = {symbol.lower(): symbol for symbol in exports if symbol[0].isupper() and symbol not in _NOT_OPTIMIZERS}
    symbol = known.get(name.lower())
    if symbol is None:
        raise RecipeError(f"unknown name {name!r}. {near(name.lower(), known)}", where)
    # optimizers pass shared arguments on as **kwargs; their base class names them
    shared = arguments_of(module("keras.src.optimizers.base_optimizer")["BaseOptimizer"])
    by_name = {a.name: a for a in (*shared, *arguments_of(module("keras.optimizers")[symbol]))}
    return Part(symbol.lower(), "keras.optimizers", symbol, tuple(map(_annotated, by_name.values())))


_NOT_OPTIMIZERS = ("Optimizer", "LossScaleOptimizer", "MultiOptimizer", "OptimizerMap")


def _annotated(argument: Argument) -> Argument:
    """Add a type to an optimizer's argument by its default; Keras annotates none."""
    kind = float if type(argument.default) is int else type(argument.default)
    kinds = {"learning_rate": Positive, "weight_decay": NonNegative | None}
    annotation = kinds.get(argument.name, kind if kind in (float, bool, str) else Any)
    return dataclasses.replace(argument, annotation=annotation)
