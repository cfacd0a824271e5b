"""The pages of `--help`: keys of a recipe and parts by name, read without importing Keras."""

import json
import textwrap

from visiontasks.errors import UserError, meant
from visiontasks.recipe import reading, schema
from visiontasks.registry import catalog

WIDTH = 100
MOST_RECIPES = 26  # that the first screen says a line of; of more it gives the names

# {topic: (folder of the parts, the key that names one)}
FOLDERS = {
    "heads": ("heads", "head.name"),
    "backbones": ("backbones", "backbone.name"),
    "sources": ("data/sources", "data.train.source"),
    "transforms": ("data/augment", "data.augment"),
}

TOPICS = """more help:
  --help keys                  every key of a recipe
  --help heads | backbones | sources | transforms | recipes
  --help NAME                  one of those, or a key: --help unet, --help train.freeze"""


def page(topic: str) -> str:
    """The page of a topic: a list of parts or keys, or all of one part, recipe or key.

    Raises:
        UserError: there is none; names the nearest.
    """
    pages = {"keys": _keys, "recipes": lambda: "\n".join(_summaries(reading.available()))}
    pages |= {name: lambda name=name: _parts(name) for name in FOLDERS}
    if topic in pages:
        return pages[topic]()
    texts = [_part(key, part) for key, part in _named(topic)]
    if topic in reading.available():
        path = reading.RECIPES / f"{topic}.yaml"
        texts.append(f"recipe={topic}\n\n{path.read_text(encoding='utf-8').rstrip()}")
    if _keys(topic):
        texts.append(_keys(topic))
    if not texts:
        known = [*pages, *_all_parts(), *reading.available(), *(key for key, *_ in schema.documented_keys())]
        pages = f"Pages: {', '.join(pages)}, or a name on them."
        raise UserError(" ".join(filter(None, (f"--help: there is no page {topic!r}.", meant(topic, known), pages))))
    return "\n\n".join(texts)


def recipes() -> str:
    """The shipped recipes for a first screen: a line of each, or their names alone where there are many."""
    available = reading.available()
    if len(available) > MOST_RECIPES:
        return textwrap.fill(", ".join(available), WIDTH, initial_indent="  ", subsequent_indent="  ")
    return "\n".join(_summaries(available, WIDTH))


def _summaries(lines: dict[str, str], width: int | None = None) -> list[str]:
    indent = 4 + max(map(len, lines))
    short = {
        name: textwrap.shorten(line, width - indent, placeholder=" …") if width else line
        for name, line in lines.items()
    }
    return [f"  {name:{indent - 2}}{line}".rstrip() for name, line in short.items()]


def _keys(topic: str = "") -> str:
    """The key `topic` or the keys below it; without a topic, all."""
    lines = []
    for key, kind, default, doc in schema.documented_keys():
        if not topic or key == topic or key.startswith(topic + "."):
            lines += [
                _wrapped(f"  {key}", doc, 24),
                _wrapped("", _value(kind, "" if key == "backbone" else default), 24),
            ]
    return "\n".join(["keys of a recipe:", "", *lines]) if lines else ""


def _wrapped(name: str, text: str, indent: int) -> str:
    """A text beside a name, or below it where the name is long."""
    first = name.ljust(indent) if len(name) < indent else f"{name}  "
    return textwrap.fill(text, WIDTH, initial_indent=first, subsequent_indent=" " * indent)


def _value(kind: str, default) -> str:
    """A type and a default as a recipe says them."""
    if default is catalog.REQUIRED or (default is None and "null" not in kind):  # it has none
        return kind
    return f"{kind}; default {json.dumps(default, ensure_ascii=False, default=str)}"


def _parts(topic: str) -> str:
    """A folder's parts, each with its first sentence; the variants of one file together."""
    folder, key = FOLDERS[topic]
    grouped = {}
    for name, part in catalog.parts(folder).items():
        grouped.setdefault((part.module, part.summary), []).append(part.symbol if topic == "transforms" else name)
    lines = [f"{topic} ({key}=NAME; --help NAME says its arguments):"]
    for (_, summary), names in grouped.items():
        lines += textwrap.wrap(", ".join(names), WIDTH, initial_indent="  ", subsequent_indent="    ")
        lines += textwrap.wrap(summary, WIDTH, initial_indent="      ", subsequent_indent="      ")
    if topic == "transforms":
        from visiontasks.data.albumentations_catalog import transforms

        names = ", ".join(sorted(transforms()))
        lines += [
            "  albumentations':",
            *textwrap.wrap(names, WIDTH, initial_indent="      ", subsequent_indent="      "),
        ]
    return "\n".join(lines)


def _all_parts() -> dict[str, list]:
    """{name: [(key, Part)]} of everything that a recipe selects by name."""
    found = {}
    for topic, (folder, key) in FOLDERS.items():
        for name, part in catalog.parts(folder).items():
            found.setdefault(part.symbol if topic == "transforms" else name, []).append((key, part))
    for name, part in catalog.functions("training/schedules").items():
        found.setdefault(name, []).append(("train.schedule.name", part))
    return found


def _named(name: str) -> list:
    if found := _all_parts().get(name):
        return found
    from visiontasks.data.albumentations_catalog import transform, transforms

    if name in transforms():
        return [("data.augment", transform(name))]
    try:
        return [("train.optimizer.name", catalog.optimizer(name))]
    except UserError:
        return []


def _part(key: str, part) -> str:
    """Everything of one part: its arguments with their types and defaults, and its docstring."""
    lines = [f"{key}=[{{{part.symbol}: {{…}}}}]" if key == "data.augment" else f"{key}={part.name}", ""]
    filled = {"learning_rate", "total_steps", "steps_per_epoch"} if key == "train.schedule.name" else {"name"}
    for argument in part.arguments:
        if argument.name not in filled:
            lines.append(_wrapped(f"  {argument.name}", _value(argument.type, argument.default), 20))
    return "\n".join([*lines, "", part.doc]).rstrip()
