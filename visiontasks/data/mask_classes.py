"""Which values or colors of masks are which class: as arguments say, a table beside the masks, or the masks."""

import re
from collections.abc import Mapping
from typing import NamedTuple

import cv2
import numpy as np

from visiontasks.data.mask_images import read_stored_mask
from visiontasks.data.mask_lookup import MaskLookup
from visiontasks.data.mask_tables import Table, packed, unpacked
from visiontasks.data.mask_values import Stores, are_flat, are_soft, is_noise, peaks, shares
from visiontasks.errors import DataError
from visiontasks.sample import VOID

_BORDER = 0xE0E0C0  # PASCAL VOC's void
_COLOR = re.compile(r"#[0-9a-f]{6}")
_FIXES = 32  # values in an advice
_TRIED, _INNER = 8, 0.25  # values that may be classes; the share of their pixels that has only such neighbors


class Classes(NamedTuple):
    """Class names, each with the value or color that stands for it, in the order of `keys`.

    listed: whether every value in the masks must be one of these, or near one: its place alone may have given it.
    """

    names: tuple[str, ...]
    keys: tuple[int, ...]
    of_colors: bool = False
    listed: bool = True


def classes_of(stores: Stores, names, values, colors, void, table: Table | None, report):
    """(class names, MaskLookup) of a data set's masks.

    Args:
        stores: what the masks store.
        names, values, colors, void: as the source `masks` takes them.
        table: of the classes, beside the masks.
        report: gets what was taken otherwise than it is stored.

    Raises:
        DataError: the classes cannot be known, or a value or color has none.
    """
    words = void if isinstance(void, (list, tuple)) else [] if void is None else [void]
    words = [_word(_packed(word, "void")) if isinstance(word, (list, tuple)) else str(word) for word in words]
    given = _given(stores, names, values, colors, table, words)
    if given is None:
        given = _of_stores(stores, {int(word) for word in words if _is_value(word)}, report)
    # beside `values`, a number is one of these, and not the name of a class
    named = {word for word in words if word in given.names and not (values is not None and _is_value(word))}
    ignored = [word for word in words if word not in named]
    kind = "color [r, g, b]" if given.of_colors else "value"
    for word in ignored:
        if not (_COLOR.fullmatch(word) if given.of_colors else _is_value(word)):
            raise DataError(f"expected a class ({', '.join(given.names)}) or a {kind}, got {word!r}.", "void")
    lookup = {key: VOID for name, key in zip(given.names, given.keys, strict=True) if name in named}
    lookup |= {int(word.strip("#"), 16 if given.of_colors else 10): VOID for word in ignored}
    kept = {name: key for name, key in zip(given.names, given.keys, strict=True) if key not in lookup}
    final = tuple(kept)
    if names is not None and (values is None and colors is None or set(names) <= set(kept)):
        final = tuple(str(name) for name in names if str(name) not in named)
        if kept and not set(final) & set(kept) and len(final) == len(kept):  # other names for the same
            kept = dict(zip(final, kept.values(), strict=True))
    classes = {key: final.index(name) for name, key in kept.items() if name in final}
    if not 1 <= len(final) <= VOID - 1 and not (given.listed is False and 1 <= len(final) <= VOID):
        raise _many(stores, len(final))
    known = {(_BORDER if given.of_colors else VOID): VOID} | classes | lookup
    nearest = _check(stores, given, final, known, table, values, colors, list(classes), report)
    present = {known.get(key) for key in (stores.colors if given.of_colors else stores.values)}
    for number, name in enumerate(final):
        if number not in present:
            report.noted("class that occurs in no mask", name)
    same = not given.of_colors and not nearest and all(key == number for key, number in known.items())
    return final, MaskLookup(None if same else known, given.of_colors, nearest)


def _is_value(word: str) -> bool:
    """Whether a text is a pixel value; int() fails for ², and for thousands of digits."""
    return re.fullmatch(r"[0-9]{1,5}", word) is not None and int(word) < 2**16


def _given(stores, names, values, colors, table, void) -> Classes | None:
    """The classes of the arguments, or of the table; None: there are neither."""
    names = None if names is None else tuple(map(str, names))
    kept = () if table is None else tuple(entry.name for entry in table.entries if entry.name not in void)
    if names is not None and kept and table.plain:
        _check_order([name for name in names if name not in void], kept, table.file.parent)
    if colors is not None:
        keys = tuple(_packed(color) for color in (colors.values() if isinstance(colors, Mapping) else colors))
        own = tuple(map(str, colors)) if isinstance(colors, Mapping) else _own(table, tuple(map(_word, keys)))
        if not keys or len(set(keys)) < len(keys):
            raise DataError(f"expected unique colors, one per class, got {colors}.", "colors")
        return Classes(_renamed(own, names), keys, True)
    if values is not None:
        if not values or len(set(values)) < len(values) or not all(0 <= value < 2**16 for value in values):
            text = f"expected unique pixel values from 0 to 65535, one per class, got {list(values)}."
            raise DataError(text, "values")
        left = values if names is not None and len(names) >= len(values) else [v for v in values if str(v) not in void]
        return Classes(_renamed(_own(table, tuple(map(str, range(len(left))))), names), tuple(left))
    if table is None and names is not None and all(map(_COLOR.fullmatch, names)):
        return Classes(names, tuple(int(name[1:], 16) for name in names), True)
    if table is None and names is not None and all(map(_is_value, names)):
        return Classes(names, tuple(map(int, names)), listed=list(map(int, names)) != list(range(len(names))))
    if table is None:
        return None if names is None else Classes(names, tuple(range(len(names))), listed=False)
    by_color = {entry.color: entry.name for entry in table.entries if entry.color is not None}
    by_value = {entry.value: entry.name for entry in table.entries}
    if by_color and (set(stores.colors) <= {*by_color, _BORDER} or not set(stores.values) <= {*by_value, VOID}):
        return Classes(tuple(by_color.values()), tuple(by_color), True)
    if by_color and stores.colored is not None:
        return Classes(tuple(by_color.values()), tuple(by_color), True)
    own, keys = tuple(by_value.values()), tuple(by_value)
    if table.plain and names is not None:
        numbers = [key for key, name in by_value.items() if name in kept]
        numbers += range(len(own), len(own) + len(names) - len(kept))
        dropped = {name: key for key, name in by_value.items() if name not in kept}
        return Classes((*names, *dropped), (*numbers[: len(names)], *dropped.values()), listed=False)
    return Classes(own, keys, listed=not (table.plain or by_color))


def _own(table, numbers) -> tuple[str, ...]:
    """The names of a table, in its order, if it has as many as there are classes; else their numbers."""
    return tuple(e.name for e in table.entries) if table and len(table.entries) == len(numbers) else numbers


def _renamed(own, names) -> tuple[str, ...]:
    """The names given, one for each of the classes; or the classes' own, if some of these are given."""
    return own if names is None or set(names) & set(own) else (*names[: len(own)], *own[len(names) :])


def _check_order(names, beside, masks):
    """A model trained on (sky, sea) must not be scored on masks whose list says (sea, sky)."""
    for number, name in enumerate(beside):
        if name in names and names.index(name) != number:
            raise DataError(
                f"{name!r} is class {names.index(name)} in names and class {number} in the list beside {masks}; "
                "use one order for both, and class indices of that order in the masks.",
                "names",
            )


def _of_stores(stores, void, report) -> Classes:
    """The classes that the masks themselves tell."""
    if stores.colored is not None:
        raise _colors_error(stores)
    if stores.lossy:
        raise _values_error(stores, "JPEG changes values: give those that were drawn, and each pixel gets the nearest")
    if (indices := stores.contradicting_palettes()) is not None:
        return _of_palettes(stores, indices, report)
    present = sorted(set(stores.values) - {VOID} - void)
    _check_values(stores, present)
    if present[:1] == [1] and present == list(range(1, 1 + len(present))) and len(present) > 1:
        report.noted("masks without the value 0, whose classes begin with 1", ", ".join(map(str, present)))
        return Classes(tuple(map(str, present)), tuple(present))
    count = 1 + max(present, default=0)
    if count > VOID:
        raise _many(stores, count)
    kept = [value for value in range(count) if value not in void]
    return Classes(tuple(map(str, kept)), tuple(kept), listed=False)


def _check_values(stores, present):
    """Raise if the values are no class indices."""
    if set(stores.values) <= {0, VOID} and VOID in stores.values:
        raise DataError(
            f"mask {stores.first(VOID)}: expected class indices 0, 1, …, and 255 for void; the {len(stores.masks)} "
            "masks contain only 0 and 255, so 255 seems to be the foreground.",
            "values",
            fix="[0,255]",
        )
    if are_soft(stores.values):
        raise _values_error(stores, "a few values with soft edges; give the values, and each pixel gets the nearest")
    if len(present) > 1 and 1 + present[-1] > 2 * len(present) and (present[-1] < VOID or len(present) <= _FIXES):
        raise _values_error(stores, "gray levels; give the value of each class, in their order")


def _of_palettes(stores, indices, report) -> Classes:
    if len(indices) > len(stores.values):
        raise _colors_error(stores, "palettes whose colors differ from file to file")
    keys = sorted(indices, key=lambda color: (indices[color], color))
    for path, stored in stores.masks:
        numbers = [keys.index(color) if color in keys else -1 for color in stored.as_colors().tolist()]
        if numbers != stored.values.tolist():
            report.noted("mask whose palette numbers the colors otherwise, mapped by color", str(path))
    return Classes(tuple(map(_word, keys)), tuple(keys), True)


def _check(stores, given, names, known, table, values, colors, classes, report) -> list[int]:
    """The keys of which the nearest is taken for other values; an error if these are no noise, or no key is listed."""
    pixels = stores.colors if given.of_colors else stores.values
    others = {key: count for key, count in pixels.items() if key not in known}
    explicit = given.listed or given.of_colors
    noise = is_noise(others, pixels, bool(stores.lossy)) and (stores.lossy or not _fill_areas(stores, others, given))
    if explicit and (not others or noise):
        for path, one in stores.masks if others else ():
            if not set((one.as_colors() if given.of_colors else one.values).tolist()) <= known.keys():
                report.noted("mask with values between those of the classes, each taken as the nearest", str(path))
        return classes if others else []
    if explicit:
        first = max(others, key=others.get)
        expected = (
            [unpacked(key) for key in known if key != _BORDER]
            if given.of_colors
            else sorted(known.keys() - {VOID}) or [VOID]
        )
        kind = "colors" if given.of_colors else "values"
        if values is not None:
            expected = list(values)
        place = "" if values is not None or colors is not None or table is None else f" of {table.file}"
        got = unpacked(first) if given.of_colors else first
        raise DataError(
            f"mask {stores.first(first, given.of_colors)}: expected the {kind} {expected}{place}, got {got}; add it. "
            f"Without a class are {shares(others, given.of_colors, sum(pixels.values()))} of all pixels.",
            kind if not place and (values, colors) != (None, None) else None,
        )
    if stores.colored is not None:
        raise _colors_error(stores)
    if stores.lossy:
        raise _values_error(stores, "JPEG changes values: give those that were drawn, and each pixel gets the nearest")
    if set(stores.values) <= {0, VOID} or others and are_soft(stores.values):
        _check_values(stores, [])
    if others:
        value = min(others)
        text = (
            f"mask {stores.first(value)}: expected class indices below {len(names)} (names: {', '.join(names)}) or "
            f"255 for void, got {value}; name every class, or correct the mask."
        )
        fits = len(set(stores.values) - {VOID}) == len(names)
        raise DataError(text, *(["values", _list(sorted(set(stores.values) - {VOID}))] if fits else []))
    return []


def _fill_areas(stores, others, given) -> bool:
    """Whether a frequent one of other values fills areas, as a class does, and soft edges do not."""
    for key in sorted(others, key=others.get, reverse=True)[:_TRIED]:
        mask = read_stored_mask(stores.first(key, given.of_colors))
        there = ((mask.as_colors() if given.of_colors else mask.values) == key).astype(np.uint8)
        if cv2.erode(there, np.ones((3, 3), np.uint8)).sum() > _INNER * there.sum():
            return True
    return False


def _values_error(stores, why) -> DataError:
    found = peaks(stores.values, lossy=bool(stores.lossy))
    many, several = len(found) > _FIXES, len(found) > 8
    return DataError(
        f"mask {stores.masks[0][0]}: expected class indices 0, 1, …, and 255 for void; the {len(stores.masks)} masks "
        f"hold {shares(stores.values)} of all pixels, which look like {why}"
        + ("; or list the names of all classes in classes.txt beside the masks" if several else "")
        + (". Leave out 255 where it is void." if VOID in found and not many else "."),
        "values",
        fix=None if many else _list(found),
    )


def _colors_error(stores, what="RGB colors") -> DataError:
    found = peaks(stores.colors, True, bool(stores.lossy))
    photo = not are_flat(stores.colors, found)
    path = stores.colored or stores.masks[0][0]
    return DataError(
        f"mask {path}: expected one class index per pixel, got {what}, and no table of the colors (labelmap.txt, "
        f"label_colors.txt, class_dict.csv) lies beside the masks; they hold {shares(stores.colors, True)} of all "
        + (
            "pixels. These look like photographs." if photo else "pixels. Give the color of each class, in their order."
        ),
        "colors",
        fix=None if photo else _list([_list(unpacked(color)) for color in found]),
    )


def _many(stores, count) -> DataError:
    return DataError(
        f"mask {stores.first(max(stores.values))}: expected 1 to {VOID} classes (255 is void), got {count}; "
        "do the masks hold instance numbers or gray values instead of classes?"
    )


def _packed(color, argument="colors") -> int:
    try:
        return packed(color)
    except ValueError as error:
        raise DataError(f"expected colors [r, g, b] from 0 to 255, got {list(color)}.", argument) from error


def _word(color: int) -> str:
    return f"#{color:06x}"


def _list(items) -> str:
    return f"[{','.join(map(str, items))}]"
