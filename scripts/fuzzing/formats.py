"""Files as trees and tables, so that a mutation of them can still be read as JSON, YAML, CSV, XML or a zip archive."""

import csv
import io
import json
import zipfile
from random import Random
from xml.etree import ElementTree

import yaml

from fuzzing import mutations

STRUCTURE = 0.7  # of the mutations of a file with a structure; the others change its bytes


def mutate(data: bytes, form: str, seed: int) -> bytes:
    """The content of a file of a form, changed once; of "bytes", or what is no longer of its form, its bytes are."""
    chance = Random(seed)
    change = _FORMS.get(form)
    if change is not None and chance.random() < STRUCTURE:
        try:
            return change(data, chance)
        except (ValueError, LookupError, TypeError, RecursionError, yaml.YAMLError, ElementTree.ParseError, csv.Error):
            pass  # an earlier change has left it without its form
    return mutations.content(data, chance)


def _text(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _json(data, chance):
    return _nested(mutations.tree(json.loads(data), chance), lambda value: json.dumps(value, ensure_ascii=False))


def _yaml(data, chance):
    def dump(value):
        return yaml.safe_dump(value, allow_unicode=True, sort_keys=False)

    return _nested(mutations.tree(yaml.safe_load(data), chance), dump)


def _nested(value, dump) -> bytes:
    """The text of a tree, which may be deeper than `dump` can go: then its deepest branch is written here."""
    try:
        return _text(dump(value))
    except RecursionError:
        return _text(dump(_cut_at(value, 50)).replace('"deep"', "[" * mutations.DEEP + "]" * mutations.DEEP))


def _cut_at(node, depth):
    if not isinstance(node, list | dict):
        return node
    if not depth:
        return "deep"
    if isinstance(node, dict):
        return {key: _cut_at(inner, depth - 1) for key, inner in node.items()}
    return [_cut_at(inner, depth - 1) for inner in node]


def _csv(data, chance):
    table = mutations.rows([*csv.reader(io.StringIO(data.decode()))], chance)
    written = io.StringIO()
    csv.writer(written, quoting=chance.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))).writerows(table)
    return _text(written.getvalue())


def _rows(data, chance):
    """Rows of words between spaces, as YOLO's."""
    table = mutations.rows([line.split(" ") for line in data.decode().splitlines()], chance)
    return _text("\n".join(map(" ".join, table)))


def _xml(data, chance):
    root = ElementTree.fromstring(data)
    parents = [element for element in root.iter() if len(element)]
    parent = chance.choice(parents)
    child = chance.choice([*parent])
    change = chance.choice(("text", "text", "text", "remove", "double", "rename", "swap", "bury", "attribute"))
    if change == "text":
        chance.choice([*root.iter()]).text = "".join(filter(_is_xml, str(mutations.value(chance))))
    elif change == "remove":
        parent.remove(child)
    elif change == "double":
        parent.extend([child] * chance.choice((1, 50)))
    elif change == "rename":
        child.tag = chance.choice((child.tag.upper(), f"{child.tag}s", "object", "name", "bndbox", "xmin", "size"))
    elif change == "swap":
        other = chance.choice([*root.iter()])
        child.text, other.text = other.text, child.text
    elif change == "attribute":
        child.set("a", "b")
    written = ElementTree.tostring(root)
    if change == "bury":
        written = b"<a>" * mutations.DEEP + written + b"</a>" * mutations.DEEP
    if chance.random() < 0.05:  # the billion laughs
        bomb = b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 12))
        written = b'<!DOCTYPE x [<!ENTITY a0 "lol">' + bomb + b"]>" + written.replace(b"</", b"&a11;</", 1)
    return written


def _is_xml(character):
    return character in "\t\n\r" or " " <= character <= "\ud7ff" or "\ue000" <= character <= "\ufffd"


def _zip(data, chance):
    """Another content, name or number of an archive's members, with right checksums."""
    members = _members(data)
    number = chance.randrange(len(members))
    name, inner = members[number]
    change = chance.choice(("inner", "inner", "inner", "inner", "remove", "rename", "double", "exchange"))
    if change == "inner":
        members[number][1] = mutate(inner, "json" if name.endswith(".json") else "bytes", chance.getrandbits(32))
    elif change == "remove":
        del members[number]
    elif change == "rename":
        members[number][0] = chance.choice(("../escaped", "/tmp/escaped", f"a/{name}", name.upper(), "config.json"))
    elif change == "double":
        members.append([f"{name}2", inner * chance.choice((1, 3))])
    else:
        members[number][1] = chance.choice(members)[1]
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for member in members:
            archive.writestr(*member)
    return written.getvalue()


def _members(data):
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return [[name, archive.read(name)] for name in archive.namelist()]
    except Exception as error:  # of a broken archive ZipFile raises whatever its parts do: zlib, struct, a codec
        raise ValueError("no archive") from error


_FORMS = {"json": _json, "yaml": _yaml, "csv": _csv, "rows": _rows, "xml": _xml, "zip": _zip}
