"""The types that annotate the arguments of parts, and the one check of values by them, in a recipe and from Python."""

import functools
import inspect
import numbers
import os
import types
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from visiontasks.errors import UserError, meant
from visiontasks.skeleton import Skeleton


def _distinct(names):
    if not isinstance(names, int) and (not names or len(set(names)) < len(names)):
        raise ValueError("empty, or a name twice")
    return names


def _rising(pair):
    if pair[0] > pair[1]:
        raise ValueError("not rising")
    return pair


class _Wrong(ValueError):
    """What is wrong with a value of the right kind."""


def _of_32_bits(number):
    if not -(2**31) <= number < 2**32:  # Python has larger ones, which some array or graph does not take
        raise _Wrong("A whole number has 32 bits at most.")
    return number


def between(least: float, most: float | None = None, kind: type = float):
    """The type of a number within bounds."""
    return Annotated[kind, Field(ge=least, le=most)]


Count = Annotated[int, Field(ge=1)]
# so few that the values of a kernel between several times as many can be counted in 63 bits: else JAX ends the process
Channels = Annotated[int, Field(ge=1, le=2**16)]
ChannelCounts = Annotated[tuple[Channels, ...], Field(min_length=1)]
Cells = Annotated[int, Field(ge=1, le=64)]  # along a side of a small grid
Layers = Annotated[int, Field(ge=1, le=100)]  # one behind the other, each of which takes time to build
MoreLayers = Annotated[int, Field(ge=0, le=100)]
LayerCounts = Annotated[tuple[Layers, ...], Field(min_length=1)]
Whole = Annotated[int, Field(ge=0)]
Side = Annotated[int, Field(ge=1, le=2**16)]  # of an image, in pixels
# of an image, height times width
Pixels = Annotated[int, Field(ge=1, le=2**63, description="a number of pixels, from 1 to 2^63")]
Bits = Annotated[int, Field(ge=1, le=16)]
Drawn = Annotated[int, Field(ge=1, le=10**6)]  # samples of a source that draws them
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # what NumPy takes
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1, description="a share from 0 to below 1")]
OpenShare = Annotated[float, Field(gt=0, lt=1, description="a share above 0 and below 1")]
Chance = Annotated[float, Field(ge=0, le=1, description="a share from 0 to 1")]
Level = Annotated[str, Field(pattern=r"^C\d$", description="a level such as C3")]
Levels = Annotated[tuple[Level, ...], Field(min_length=1, description="a list of levels such as C3")]
Counts = Annotated[tuple[Count, ...], Field(min_length=1)]
Positives = Annotated[tuple[Positive, ...], Field(min_length=1)]
Names = Annotated[
    tuple[str, ...], AfterValidator(_distinct), Field(description="a list of one name or more, none of them twice")
]
Classes = Annotated[
    between(1, 10**6, int) | Names,
    Field(description="names of the classes, none of them twice, or their number, from 1 to 1000000"),
]
InputShape = Annotated[
    tuple[Count | None, Count | None, Literal[3]],
    Field(description="[height, width, 3], null for a variable height or width; images are always RGB"),
]


# of what a source draws
DrawnSize = Annotated[
    tuple[between(32, 2**14, int), between(32, 2**14, int)], Field(description="[height, width] of 32 to 16384 pixels")
]


def pair(least: float, most: float | None = None, kind: type = float):
    """The type of two numbers within bounds, of which the second is not smaller."""
    number, text = between(least, most, kind), f"[least, most]{_bounds({'Ge': least, 'Le': most})}"
    return Annotated[tuple[number, number], AfterValidator(_rising), Field(description=text)]


def options(**kinds):
    """The type of a mapping of arguments, each of its type, any of which may be missing."""

    def fit(given):
        for name, value in given.items():
            if name not in kinds:
                raise _Wrong(f"There is no {name!r}. {meant(name, kinds)}".rstrip())
            try:
                check(name, kinds[name], value)
            except UserError as error:
                raise _Wrong(f"{name!r}: {error.args[0]}") from None
        return given

    text = f"a mapping with any of {', '.join(kinds)}"
    return Annotated[dict[str, Any], AfterValidator(fit), Field(description=text)]


def _of_skeleton(given):
    try:
        Skeleton(**given)
    except TypeError as error:
        raise _Wrong(f"{error}.") from None
    except ValueError as error:
        raise _Wrong(str(error)) from None
    return given


# Skeleton's arguments
Points = Annotated[dict[str, Any], AfterValidator(_of_skeleton), Field(description="a Skeleton, or its arguments")]


def check(name: str, annotation, value):
    """The value as the annotation takes it: a list becomes a tuple, a whole number a float where that is asked for.

    Otherwise strict: a text is no number, and neither is true or false, infinity or NaN.

    Raises:
        UserError: it does not fit: "NAME: expected …, got …", and the near name where the annotation lists some.
    """
    try:
        return _adapter(annotation).validate_python(_plain(value))
    except ValidationError as error:
        hint = f" {meant(value, choices(annotation))}".rstrip() if isinstance(value, str) else ""
        causes = (one.get("ctx", {}).get("error") for one in error.errors(include_input=False))
        hint += "".join(dict.fromkeys(f" {cause}" for cause in causes if isinstance(cause, _Wrong)))
        came = _shown(value)
        came = came if len(came) < 200 else f"{came[:200]}…"
        raise UserError(f"expected {describe(annotation)}, got {came}.{hint}", name) from None


def _shown(value) -> str:
    try:
        return repr(value)
    except ValueError:
        return "a number of thousands of digits"  # which Python does not write


@functools.cache
def _adapter(annotation) -> TypeAdapter:
    config = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)
    return TypeAdapter(_of_tuples(annotation), config=config)


def _plain(value):
    """A value with tuples for lists, a mapping for a Skeleton, Python's numbers for NumPy's, and texts for paths."""
    if isinstance(value, bool):
        return value
    if isinstance(value, Skeleton):
        value = value.get_config()
    for kind, convert in ((os.PathLike, os.fspath), (numbers.Integral, int), (numbers.Real, float)):
        if isinstance(value, kind):
            return convert(value)
    if isinstance(value, list | tuple):
        return tuple(map(_plain, value))
    return {key: _plain(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def _of_tuples(annotation):
    """An annotation with tuples for all sequences and bounds of whole numbers; what YAML cannot express becomes Any."""
    origin, inner = get_origin(annotation) or annotation, get_args(annotation)
    if origin is Annotated:
        bounds = (bound for m in inner[1:] for bound in getattr(m, "metadata", ()))
        bounded = inner[0] is int and any(getattr(bound, "le", None) or getattr(bound, "lt", None) for bound in bounds)
        return annotation if bounded else Annotated[(_of_tuples(inner[0]), *inner[1:])]
    if origin in (Union, types.UnionType):
        return Union[tuple(map(_of_tuples, inner))]  # noqa: UP007
    if origin is tuple and inner:
        return tuple[tuple(one if one is ... else _of_tuples(one) for one in inner)]
    if origin in (tuple, list, Sequence):
        return tuple[_of_tuples(inner[0]), ...] if inner else tuple
    if origin is dict and inner:
        return dict[inner[0], _of_tuples(inner[1])]
    if origin is int:
        return Annotated[int, AfterValidator(_of_32_bits)]
    return annotation if origin in (*_WORDS, Literal) or isinstance(annotation, type) and not inner else Any


_WORDS = {
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("a text", "texts"),
    bool: ("true or false", "true or false"),
    dict: ("{name: value}", "mappings"),
    type(None): ("null", "null"),
    None: ("null", "null"),
    Any: ("anything", "anything"),
}


def describe(annotation, many: bool = False) -> str:
    """What an annotation takes, in words: "a share from 0 to below 1", "one of n, s, m", "a list of numbers"."""
    origin, inner = get_origin(annotation) or annotation, get_args(annotation)
    if origin is Annotated:
        given = [m for m in inner[1:] if getattr(m, "description", None)]
        if given:
            return f"each {given[0].description}" if many else given[0].description
        bounds = [bound for m in inner[1:] for bound in getattr(m, "metadata", ())]
        if any(hasattr(bound, "min_length") for bound in bounds):
            return f"non-empty {describe(inner[0])}".replace("non-empty a ", "a non-empty ")
        # annotated_types' Ge(ge=0), Lt(lt=1)
        by_kind = {(kind := type(b).__name__): getattr(b, kind.lower()) for b in bounds}
        return describe(inner[0], many) + _bounds(by_kind)
    if origin is Literal:
        text = f"one of {', '.join(map(_word, inner))}" if len(inner) > 1 else _word(inner[0])
        return f"each {text}" if many else text
    if origin in (Union, types.UnionType):
        texts = [text for one in inner for text in (("true", "false") if one is bool else (describe(one, many),))]
        return ", ".join(texts[:-1]) + f" or {texts[-1]}"
    if origin is tuple and inner and inner[-1] is not ...:
        return f"[{', '.join(map(describe, inner))}]"
    if origin in (tuple, list, Sequence):
        what, of = "lists" if many else "a list", describe(inner[0], many=True) if inner else ""
        return f"{what}, {of}" if of.startswith("each ") else f"{what} of {of}" if of else what
    if origin is dict and inner:
        return f"{{{'name' if inner[0] is str else describe(inner[0])}: {describe(inner[1])}}}"
    return _WORDS[origin][many] if origin in _WORDS else getattr(origin, "__name__", str(origin))


def _word(value) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _bounds(by_kind: dict) -> str:
    low, high = by_kind.get("Ge", by_kind.get("Gt")), by_kind.get("Le", by_kind.get("Lt"))
    below = "below " if "Lt" in by_kind else ""
    if low is None:
        return "" if high is None else f" {below or 'of at most '}{high}"
    if high is None:
        return f" of at least {low}" if "Ge" in by_kind else f" above {low}"
    return f" from {low} to {below}{high}" if "Ge" in by_kind else f" above {low} and {below or 'at most '}{high}"


def choices(annotation) -> tuple:
    """The values that an annotation lists as Literal[…], for the value itself."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return inner
    inner = inner[:1] if origin is Annotated else inner if origin in (Union, types.UnionType) else ()
    return tuple(value for one in inner for value in choices(one))


def checked(function):
    """A function whose arguments are checked by their annotations at every call."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args, **kwargs):
        bound = _bind(signature, *args, **kwargs)
        return function(*bound.args, **bound.kwargs)

    return call


def _bind(signature, *args, **kwargs) -> inspect.BoundArguments:
    bound = signature.bind(*args, **kwargs)
    for name, value in bound.arguments.items():
        parameter = signature.parameters[name]
        annotated = parameter.annotation is not parameter.empty and parameter.kind not in _VARIADIC
        if annotated and value is not parameter.default:
            bound.arguments[name] = check(name, parameter.annotation, value)
    return bound


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Checked:
    """A class whose constructor's arguments are checked by their annotations, recorded, and given by `get_config`.

    An argument that a subclass hands on to its base by `**kwargs` counts as its own; one that it fills in does not.

    Attributes:
        arguments: {name: value}, defaults included; lists are tuples.
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            cls.__init__ = _recording(cls.__init__)

    @property
    def arguments(self) -> dict:
        return dict(vars(self).get("_arguments", {}))

    def get_config(self) -> dict:
        """Every argument as JSON has it, lists for tuples; and Keras's config, if the class is Keras's."""
        config = {name: _listed(value) for name, value in self.arguments.items()}
        return config | super().get_config() if hasattr(super(), "get_config") else config


def _recording(init):
    """A constructor that checks its arguments, and records those that the caller of the outermost one can give."""
    signature = inspect.signature(init)
    _, *parameters = signature.parameters.values()
    named = [parameter.name for parameter in parameters if parameter.kind not in _VARIADIC]
    rest = next((parameter.name for parameter in parameters if parameter.kind is parameter.VAR_KEYWORD), None)

    @functools.wraps(init)
    def call(self, *args, **kwargs):
        bound = _bind(signature, self, *args, **kwargs)
        given = set(bound.arguments)
        bound.apply_defaults()
        state = vars(self)  # not by setattr: Keras would track the dicts, and wrap what they hold
        outermost = "_arguments" not in state
        recorded, handed_on = state.setdefault("_arguments", {}), state.get("_handed_on")
        for name in named:
            # not those that a subclass fills in
            if outermost or handed_on is not None and (name in handed_on or name not in given):
                recorded.setdefault(name, bound.arguments[name])
        if outermost or rest is None:
            state["_handed_on"] = None if rest is None else set(bound.arguments[rest])
        init(*bound.args, **bound.kwargs)

    call.__signature__ = signature  # Keras inspects the signature twice, and both results must agree
    return call


def _listed(value):
    if isinstance(value, tuple):
        return [_listed(inner) for inner in value]
    return {key: _listed(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def fields_of(fields: tuple[str, ...], fields_with: dict[str, tuple[str, ...]], arguments: dict) -> tuple[str, ...]:
    """The Sample fields that a head learns from, given its arguments.

    Args:
        fields: those of every head of its kind.
        fields_with: {argument: fields that are added where it is given, and neither false nor 0}.
        arguments: of its constructor, defaults included.
    """
    added = (field for name, more in fields_with.items() if _given(arguments, name) for field in more)
    return tuple(dict.fromkeys((*fields, *added)))


def task_of(task: str, tasks_with: dict[str | tuple[str, ...], str], arguments: dict) -> str:
    """The task of a head, given its arguments: the last of `tasks_with` whose arguments are all given, or `task`."""
    given = (other for names, other in tasks_with.items() if all(_given(arguments, name) for name in _tuple(names)))
    return [task, *given][-1]


def _tuple(names) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


def _given(arguments, name) -> bool:
    # an empty mapping asks for a part with its defaults
    value = arguments.get(name)
    return value is not None and (isinstance(value, dict) or bool(value))
