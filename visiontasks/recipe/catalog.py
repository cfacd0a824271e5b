"""Finds parts by name: the folder is the registry, and a constructor's signature is the schema of a recipe.

Files are read as syntax trees, not imported, so that a misspelt name or argument is an error within a second, before
TensorFlow loads.
"""

import ast
import dataclasses
import functools
import importlib
import importlib.util
import re
from collections.abc import Iterable
from pathlib import Path

from visiontasks.errors import RecipeError, near

PACKAGE = Path(__file__).parents[1]
FOLDERS = ("heads", "backbones", "data/sources", "data/augment")
BASES = ("head", "backbone", "source", "augmentation")  # files that hold a folder's contract
REQUIRED = object()


@dataclasses.dataclass(frozen=True)
class Argument:
    """One argument of a constructor, as its signature states it."""

    name: str
    annotation: str = ""
    default: object = REQUIRED


@dataclasses.dataclass(frozen=True)
class Part:
    """One selectable part: where it is defined and what its constructor takes."""

    name: str
    module: str
    symbol: str
    arguments: tuple[Argument, ...]
    summary: str
    variant: object = None
    constants: dict = dataclasses.field(default_factory=dict)  # literal class attributes, such as a head's `fields`

    def load(self):
        """Import the module and return the constructor (with the variant filled in)."""
        made = getattr(importlib.import_module(self.module), self.symbol)
        return made if self.variant is None else functools.partial(made, self.variant)


def _key(symbol: str) -> str:
    return symbol.replace("_", "").lower()


def _literal(node):
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


def arguments_of(node: ast.ClassDef | ast.FunctionDef) -> tuple[Argument, ...]:
    """The named arguments of a function, or of a class's `__init__`."""
    if isinstance(node, ast.ClassDef):
        inits = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
        if not inits:
            return ()
        node, skip = inits[0], 1
    else:
        skip = 0
    positional = [*node.args.posonlyargs, *node.args.args]
    defaults = [None] * (len(positional) - len(node.args.defaults)) + list(node.args.defaults)
    pairs = list(zip(positional, defaults, strict=True))[skip:]
    pairs += zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    return tuple(
        Argument(a.arg, ast.unparse(a.annotation) if a.annotation else "", REQUIRED if d is None else _literal(d))
        for a, d in pairs
    )


@functools.cache
def parts(folder: str) -> dict[str, Part]:
    """Every part of a folder, by name.

    A file offers the class named as the file (`unet.py`: `UNet`), and its public functions that take `weights` (one
    file of a family of backbones: `efficientnet_lite0`, `efficientnet_lite1`, …). A function that has the file's name
    and a literal `NAMES = {name: variant}` beside it is offered once under each of those names, the variant filled in
    as its first argument.
    """
    found = {}
    for path in sorted((PACKAGE / folder).glob("*.py")):
        if path.stem == "__init__":
            continue
        found.update(_parts_of(path, f"visiontasks.{folder.replace('/', '.')}.{path.stem}"))
    return found


def _parts_of(path: Path, module: str) -> dict[str, Part]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = next(
        (
            _literal(n.value)
            for n in tree.body
            if isinstance(n, ast.Assign) and [ast.unparse(t) for t in n.targets] == ["NAMES"]
        ),
        None,
    )
    found = {}
    for node in tree.body:
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef)) or node.name.startswith("_"):
            continue
        own = _key(node.name) == _key(path.stem)
        arguments = arguments_of(node)
        offered = own if isinstance(node, ast.ClassDef) else "weights" in [a.name for a in arguments]
        if not offered or path.stem in BASES:
            continue
        summary = (ast.get_docstring(node) or "").split("\n")[0]
        made = Part(
            path.stem if own else node.name,
            module,
            node.name,
            arguments,
            summary,
            constants=_constants(node) if isinstance(node, ast.ClassDef) else {},
        )
        if own and names:
            for name, variant in names.items():
                found[name] = dataclasses.replace(made, name=name, arguments=arguments[1:], variant=variant)
        else:
            found[made.name] = made
    return found


def _constants(node: ast.ClassDef) -> dict:
    return {
        ast.unparse(n.targets[0]): _literal(n.value)
        for n in node.body
        if isinstance(n, ast.Assign) and len(n.targets) == 1
    }


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
            raise RecipeError(f"{where}.{key}: {part.name} has no argument {key!r}. {near(key, known)}")
        annotation = known[key].annotation
        if not fits(value, annotation):
            listed = choices(annotation)
            hint = f" {near(str(value), map(str, listed))}" if listed else ""
            expected = annotation.replace("Share", "a share from 0 to below 1")
            raise RecipeError(f"{where}.{key}: expected {expected}, got {value!r} ({type(value).__name__}).{hint}")
    missing = [a for a in known if known[a].default is REQUIRED and a not in given and a not in set(filled)]
    if missing:
        raise RecipeError(f"{where}: {part.name} needs {', '.join(missing)}; give it as {where}.{missing[0]}=…")


_KINDS = {
    "Share": (int, float),
    "int": int,
    "float": (int, float),
    "str": str,
    "bool": bool,
    "dict": dict,
    "list": (list, tuple),
    "tuple": (list, tuple),
    "Sequence": (list, tuple),
    "None": type(None),
}


def fits(value, annotation: str) -> bool:
    """Whether a value read from YAML fits an annotation; kinds that YAML cannot write fit anything."""
    if not annotation:
        return True
    pieces = _split(annotation, "|")
    if isinstance(value, str | int | float | None) and value in choices(annotation):
        return True
    if len(choices(annotation)) < len(_literals(annotation)):
        return True  # constants by name: only their module knows the values
    others = [piece for piece in pieces if piece not in _literals(annotation)]
    kinds = [re.split(r"[\[(]", part.strip())[0].split(".")[-1] for part in others]
    if any(kind not in _KINDS for kind in kinds):
        return True
    if isinstance(value, bool):
        return "bool" in kinds
    return any(
        isinstance(value, _KINDS[kind]) and _elements_fit(value, piece) and (kind != "Share" or 0 <= value < 1)
        for kind, piece in zip(kinds, others, strict=True)
    )


def _elements_fit(value, annotation) -> bool:
    """Whether the elements of a list, or the values of a dict, fit what stands in the brackets."""
    match = re.fullmatch(r"\s*[\w.]+\[(.*)\]\s*", annotation, re.DOTALL)
    if not match or not isinstance(value, (list, tuple, dict)):
        return True
    elements = list(value.values()) if isinstance(value, dict) else value
    inner = [part.strip() for part in _split(match[1], ",") if part.strip() != "..."]
    return all(fits(element, inner[-1]) for element in elements)


def choices(annotation: str) -> tuple:
    """The values that an annotation lists as `Literal[…]`; names of constants (`cv2.INTER_LINEAR`) are left out."""
    values = [
        _literal(ast.parse(piece[piece.index("[") :].strip(), mode="eval").body) for piece in _literals(annotation)
    ]
    return tuple(choice for value in values if isinstance(value, list) for choice in value)


def _literals(annotation):
    return [piece for piece in _split(annotation, "|") if re.match(r"\s*(\w+\.)?Literal\[", piece)]


def _split(annotation: str, sign: str) -> list[str]:
    """The pieces between the signs that stand outside of brackets."""
    depth, pieces = 0, [""]
    for char in annotation:
        depth += (char == "[") - (char == "]")
        if char == sign and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += char
    return pieces


@functools.cache
def functions(module: str) -> dict[str, Part]:
    """The public functions of one file of this package, such as "training/schedules", by name."""
    tree = ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))
    found = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            summary = (ast.get_docstring(node) or "").split("\n")[0]
            dotted = f"visiontasks.{module.replace('/', '.')}"
            found[node.name] = Part(node.name, dotted, node.name, arguments_of(node), summary)
    return found


def optimizer(name: str, where: str = "train.optimizer.name") -> Part:
    """A Keras optimizer by name in any case ("adamw", "SGD"), read without importing Keras.

    Raises:
        RecipeError: Keras has none of that name.
    """
    choices = {symbol.lower(): symbol for symbol in _keras_exports("optimizers") if symbol not in _NOT_OPTIMIZERS}
    symbol = choices.get(name.lower())
    if symbol is None:
        raise RecipeError(f"{where}: unknown name {name!r}. {near(name.lower(), choices)}")
    exports = _keras_exports("optimizers")
    own = arguments_of(_class(exports[symbol], symbol))
    # what all optimizers share comes through **kwargs; it is looked up in their base, so that a slip is still caught
    shared = arguments_of(_class(exports["Optimizer"].with_name("base_optimizer.py"), "BaseOptimizer"))
    known = {a.name: a for a in (*shared, *own)}
    return Part(symbol.lower(), "keras.optimizers", symbol, tuple(known.values()), "")


_NOT_OPTIMIZERS = ("Optimizer", "LossScaleOptimizer", "MultiOptimizer", "OptimizerMap")


def _class(path: Path, name: str) -> ast.ClassDef:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name)


@functools.cache
def _keras_exports(module: str) -> dict[str, Path]:
    """{class: its file} of a public Keras module, read off its `__init__.py`."""
    spec = importlib.util.find_spec("keras")  # finds the package without importing it
    root = Path(spec.origin).parent
    tree = ast.parse((root / module / "__init__.py").read_text(encoding="utf-8"))
    return {
        alias.asname or alias.name: root.parent / (node.module.replace(".", "/") + ".py")
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if (alias.asname or alias.name)[0].isupper()
    }
