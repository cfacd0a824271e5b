"""Which albumentations transforms there are and what they take, read from their files without importing the package."""

import dataclasses
import functools
import importlib.util
import re
from collections.abc import Iterable
from pathlib import Path

from visiontasks.errors import RecipeError, near
from visiontasks.registry.catalog import Part
from visiontasks.registry.syntax import Module, arguments_of

_ROOTS = {"BasicTransform", "BaseCompose"}  # every transform and every composition descends from one of them
_ABSTRACT = {"DualTransform", "ImageOnlyTransform", "Transform3D", "MaxSizeTransform", "Compose", "ReplayCompose"}
_REFUSED = {
    "Normalize": "every backbone normalizes its own input, so images stay uint8: leave it out",
    "ToFloat": "images stay uint8 until they are on the device: leave it out",
    "FromFloat": "images are uint8 already: leave it out",
    "ToTensorV2": "images stay NumPy arrays: leave it out",
    "Lambda": "a recipe holds no code",
}
_NEXT = re.compile(r"\n(?=(@|class |def |[A-Za-z_]+ = ))")  # where the next thing of a file begins
_CLASS = re.compile(r"^class (\w+)(?:\(([^)]*)\))?:", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class _Definition:
    bases: tuple[str, ...]
    path: Path
    start: int  # where the class begins in its file


@functools.cache
def _definitions() -> dict[str, _Definition]:
    spec = importlib.util.find_spec("albumentations")  # finds it without importing it
    if spec is None:
        raise RecipeError("needs the package albumentations; pip install albumentations==2.0.8", "augment")
    root = Path(spec.origin).parent
    files = [*sorted(root.glob("augmentations/**/*.py")), *sorted(root.glob("core/*.py"))]
    return {
        found[1]: _Definition(tuple(re.findall(r"\w+", found[2] or "")), path, found.start())
        for path in files
        for found in _CLASS.finditer(path.read_text(encoding="utf-8"))
    }


def _descends(name: str) -> bool:
    return name in _ROOTS or (name in _definitions() and any(map(_descends, _definitions()[name].bases)))


@functools.cache
def transforms() -> tuple[str, ...]:
    """The names that `data.augment` may use."""
    return tuple(
        name
        for name, definition in _definitions().items()
        if not name.startswith(("_", "Base"))
        and "transforms3d" not in definition.path.parts  # those move volumes
        and name not in _ROOTS | _ABSTRACT | set(_REFUSED)
        and _descends(name)
    )


def transform(name: str, where: str = "augment", others: Iterable[str] = ()) -> Part:
    """The transform `name` and the arguments of its constructor; `others` are names that an error offers beside.

    Raises:
        RecipeError: there is none, with the near name; or it is one that this pipeline has no place for, with why.
    """
    if name in _REFUSED:
        raise RecipeError(f"{name} cannot be used here: {_REFUSED[name]}.", where)
    if name not in transforms():
        raise RecipeError(f"there is no transform {name!r}. {near(name, {*transforms(), *others})}", where)
    return Part(name, "albumentations", name, _constructor(name))


@functools.cache
def _constructor(name: str):
    """The arguments of a class's `__init__`, or of the first base's that has one."""
    definition = _definitions().get(name)
    if definition is None:
        return ()
    text = definition.path.read_text(encoding="utf-8")
    # the file's imports and this class, without the thousands of lines between
    head, rest = text[: _NEXT.search(text).start()], text[definition.start :]
    end = _NEXT.search(rest)
    own = Module("albumentations", f"{head}\n{rest[: end.start()] if end else rest}")
    return arguments_of(own[name]) or next((found for found in map(_constructor, definition.bases) if found), ())
