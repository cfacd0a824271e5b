"""What a VisionModel takes from a trained one: the backbone, and the heads with the same classes and shapes."""

import re
from typing import NamedTuple

import keras
import numpy as np

from visiontasks.backbones.matching import take_backbone

_MOST = 3  # names in a sentence
_SAID = ("name", "trainable", "dtype", "classes", "learns", "skeleton")  # elsewhere, or without a meaning for weights


class Taken(NamedTuple):
    """What was taken: a line for the backbone and for each head, and whether the backbone was taken whole."""

    lines: list[str]
    whole: bool


def take(model, saved) -> Taken:
    """Give a VisionModel the weights of a trained one where they fit.

    The backbone's are taken. A head takes those of the head of its name, or of the only other one of its kind, if their
    classes and keypoints have the same names in the same order (but for case, spaces, hyphens and underscores) and the
    shapes of their weights are equal; otherwise it keeps its own, as one does that learns without gradients.

    Args:
        model: the VisionModel; its backbone is, by `difference`, that of `saved`.
        saved: the trained VisionModel.
    """
    lines, missing = [], take_backbone(saved.backbone, model.backbone)
    text = f"backbone: {_count(model.backbone.weights) - _count(missing):,} parameters loaded"
    if missing:
        layers = sorted({v.path.rpartition("/")[0] for v in missing})
        text += f"; {_listed(layers)} not in the file, {_count(missing):,} parameters re-initialized"
    lines.append(text)
    partners = _partners(model.heads, saved.heads)
    for name, head in model.heads.items():
        other = saved.heads.get(partners.get(name))
        count = _count(head.weights)
        reason = "the file has no such head" if other is None else _reason(head, other)
        if reason:
            lines.append(f"head {name}: re-initialized, {count:,} parameters: {reason}")
            continue
        for ours, theirs in zip(head.weights, other.weights, strict=True):
            ours.assign(keras.ops.convert_to_numpy(theirs))
        text = f"head {name}: {count:,} parameters loaded"
        text += f" from head {partners[name]}" if partners[name] != name else ""
        renamed = [f"{b} is {a} now" for a, b in zip(_names(head), _names(other), strict=True) if a != b]
        text += f"; classes renamed: {_listed(renamed)}" if renamed else ""
        lines.append(text + _other_settings(head, other))
    left = [name for name in saved.heads if name not in partners.values()]
    lines += [f"head {name} of the file: left out" for name in left]
    return Taken(lines, not missing)


def _partners(heads, saved) -> dict[str, str]:
    """{head: that of the file}: of the same name, or the only one left of its class where it is the only one too."""
    found = {name: name for name in heads if name in saved}
    for name, head in heads.items():
        alike = [key for key, one in saved.items() if type(one) is type(head) and key not in found.values()]
        rivals = [key for key, one in heads.items() if type(one) is type(head) and key not in found]
        if name not in found and len(alike) == len(rivals) == 1:
            found[name] = alike[0]
    return found


def _reason(head, other) -> str:
    """Why a head cannot take another's weights; "" if it can."""
    if type(head) is not type(other):
        return f"it is {_kind(other)} in the file, {_kind(head)} here"
    if not head.by_gradients:
        return "it is fitted to the new data without gradients"
    here, there = _names(head), _names(other)
    if not (head.numbered or other.numbered) or len(here) != len(there):
        if sorted(map(_plain, here)) == sorted(map(_plain, there)) and [*map(_plain, here)] != [*map(_plain, there)]:
            return f"its classes are in another order: {_listed(there)} in the file, {_listed(here)} here"
        if [*map(_plain, here)] != [*map(_plain, there)]:
            gone, new = ([n for n in a if n not in b] for a, b in ((there, here), (here, there)))
            parts = [
                f"{_listed(names)} only {where}" for names, where in ((gone, "in the file"), (new, "here")) if names
            ]
            return f"other classes ({len(there)} in the file, {len(here)} here): {', '.join(parts)}"
    shapes = [[(_below(v, one), tuple(v.shape)) for v in one.weights] for one in (other, head)]
    if shapes[0] != shapes[1]:
        pairs = zip(*shapes, strict=False)
        first = next((pair for pair in pairs if pair[0] != pair[1]), None)
        if first is None or first[0][0] != first[1][0]:
            return f"it has {len(shapes[0])} weights in the file, {len(shapes[1])} with other names here"
        return f"{first[0][0]} has the shape {first[0][1]} in the file, {first[1][1]} here"
    return ""


def _other_settings(head, other) -> str:
    """The arguments in which two heads with equal shapes differ: weights may mean something else, as with anchors."""
    configs = [one.get_config() for one in (other, head)]
    differ = [key for key in configs[1] if key not in _SAID and configs[0].get(key) != configs[1][key]]
    texts = [f"{key} {configs[0].get(key)} in the file, {configs[1][key]} here" for key in differ]
    return f"; other settings: {'; '.join(texts)}" if texts else ""


def _names(head) -> list[str]:
    """Of the classes, then of the keypoints."""
    return [*head.classes, *(head.skeleton or ())]


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()


def _kind(head) -> str:
    return type(head).__name__


def _below(variable, head) -> str:
    return re.sub(r"_\d+(?=/|$)", "", variable.path.removeprefix(f"{head.path}/"))


def _count(variables) -> int:
    return int(sum(np.prod(v.shape) for v in variables))


def _listed(names) -> str:
    more = len(names) - _MOST
    return ", ".join(names[:_MOST]) + (f" and {more} more" if more > 0 else "")
