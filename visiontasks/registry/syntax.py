"""Reads Python files as syntax trees: their names, classes and signatures, evaluated without importing the files.

Types, numbers and constants in a signature are looked up through the file's import statements. Only the standard
library, pydantic and `visiontasks.arguments` are really imported.
"""

import ast
import dataclasses
import functools
import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from visiontasks.arguments import describe

REQUIRED = object()
_LIGHT = {*sys.stdlib_module_names, "pydantic", "annotated_types", "typing_extensions"}


@dataclasses.dataclass(frozen=True)
class Argument:
    """One argument of a constructor's signature.

    Attributes:
        annotation: a type; Any if there is none, or if only an import could evaluate it.
        default: its value; REQUIRED if there is none; its text if only an import could evaluate it.
        shared: whether the folder's contract has it, so that all parts have it.
    """

    name: str
    annotation: object = dataclasses.field(default=Any, compare=False)
    default: object = REQUIRED
    shared: bool = False

    @property
    def type(self) -> str:
        """The annotation in words."""
        return describe(self.annotation)


class Module(dict):
    """The names of a file, evaluated on demand; also the namespace of the file's expressions.

    Args:
        name: the module's dotted name.
        text: the file's content.
    """

    def __init__(self, name: str, text: str):
        super().__init__()
        self.name, self.tree, self.nodes = name, ast.parse(text), {}
        for node in self.tree.body:
            if isinstance(node, ast.Assign):
                self.nodes.update((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))
            elif isinstance(node, ast.ClassDef | ast.FunctionDef):
                self.nodes[node.name] = node
            elif isinstance(node, ast.Import | ast.ImportFrom):
                self.nodes.update((alias.asname or alias.name, (node, alias.name)) for alias in node.names)

    def __missing__(self, name):
        node = self.nodes[name]  # if missing, KeyError: Python then looks up builtins
        if isinstance(node, ast.ClassDef):
            value = Class(self, node)
        elif isinstance(node, ast.expr):
            value = self.evaluate(node)
        elif isinstance(node, tuple):
            value = self._imported(*node)
        else:
            raise NameError(name)
        self[name] = value
        return value

    __getattr__ = dict.__getitem__  # for files that are imported as modules

    def evaluate(self, node: ast.expr):
        """The value of an expression of this file; raises any error of the evaluation."""
        return eval(compile(ast.Expression(node), self.name, "eval"), self)

    def signature(self, node: ast.FunctionDef) -> tuple[Argument, ...]:
        """The named arguments of a function of this file."""
        stated = node.args
        positional = [*stated.posonlyargs, *stated.args]
        defaults = [*[None] * (len(positional) - len(stated.defaults)), *stated.defaults, *stated.kw_defaults]
        return tuple(
            Argument(
                argument.arg,
                self._or(argument.annotation, Any),
                REQUIRED if default is None else self._or(default, ast.unparse(default)),
            )
            for argument, default in zip((*positional, *stated.kwonlyargs), defaults, strict=True)
        )

    def _imported(self, node, name):
        """The value of a name in an import statement."""
        source = name if isinstance(node, ast.Import) else node.module
        top = source.split(".")[0]
        if top in _LIGHT or source == "visiontasks.arguments":
            imported = importlib.import_module(source)
            return imported if isinstance(node, ast.Import) else getattr(imported, name)
        if top != self.name.split(".")[0]:
            raise NameError(source)  # of another package, which a recipe cannot name
        imported = module(source)
        if isinstance(node, ast.Import):
            return imported
        return imported[name] if name in imported.nodes else module(f"{source}.{name}")

    def _or(self, node, other):
        try:
            return other if node is None else self.evaluate(node)
        except Exception:  # it may need an import, a call, or another Python
            return other


class Class:
    """A class of a parsed file, with its bases; its class attributes are this object's attributes."""

    def __init__(self, module: Module, node: ast.ClassDef):
        self._module, self._node = module, node
        bases = (module._or(base, None) for base in node.bases)
        self._bases = [base for base in bases if isinstance(base, Class)]

    def __getattr__(self, name):
        for node in self._node.body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets) and node.value:
                return self._module.evaluate(node.value)
        for base in self._bases:
            if hasattr(base, name):
                return getattr(base, name)
        raise AttributeError(f"{self._node.name} has no {name}")


def arguments_of(definition: Class) -> tuple[Argument, ...]:
    """The arguments of a class's constructor, and those that its `**kwargs` pass to its base's constructor."""
    inherited = next((arguments for base in definition._bases if (arguments := arguments_of(base))), ())
    init = next((n for n in definition._node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
    if init is None:
        return inherited
    own = definition._module.signature(init)[1:]
    if init.args.kwarg is None:
        return own
    filled = {argument.name for argument in own}
    for call in ast.walk(init):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "super().__init__":
            filled |= {argument.name for argument in inherited[: len(call.args)]}
            filled |= {keyword.arg for keyword in call.keywords}
    return (*own, *(argument for argument in inherited if argument.name not in filled))


def docstring(node: ast.ClassDef | ast.FunctionDef) -> str:
    """The docstring of a class or function, or ""."""
    return ast.get_docstring(node) or ""


@functools.cache
def module(name: str) -> Module:
    """A module by its dotted name.

    Raises:
        ImportError: there is no such module, or it has no source.
    """
    top, *rest = name.split(".")
    if top == "visiontasks":  # its packages import nothing heavy
        spec = importlib.util.find_spec(name)
        path = None if spec is None or not spec.origin else Path(spec.origin)
    else:
        spec = importlib.util.find_spec(top)  # finds it without importing it
        stem = None if spec is None or not spec.origin else Path(spec.origin).parent.joinpath(*rest)
        path = stem and next((p for p in (stem.with_suffix(".py"), stem / "__init__.py") if p.is_file()), None)
    if path is None:
        raise ImportError(name)
    return Module(name, path.read_text(encoding="utf-8"))
