"""Changes of bytes, of tables, and of trees of lists and mappings; each one a function of a random generator alone."""

import copy
import math
from random import Random

DEEP = 3000  # levels, more than Python's stack has room for
# values that no place expects, or that many programs take for others
NUMBERS = (
    0,
    -1,
    -0.0,
    1,
    255,
    2**31,
    2**63,
    2**64,
    10**30,
    10**400,
    -(10**12),
    0.5,
    -0.5,
    1e-320,
    1e308,
    math.nan,
    math.inf,
)
TEXTS = (
    *("", " ", "null", "~", "NaN", "1e309", "-1", "0", "true", "9" * 5000, "0x10", "1,5", "a" * 400, "%s", "{}"),
    *("赤血球", "e\u0301", "\u202e", "\ufeff", "\x00", "\x07", "<b>&amp;", "'", '"', "\n", "a\tb", "\ud800", "😀"),
    *("..", "../../escaped", "/etc/passwd", "a/b", "C:\\a", "~", ".", "//", "file:///etc/passwd", "%2e%2e%2f", "*"),
    *("${x}", "${oc.env:HOME}", "${.}", "!!python/object/apply:os.system [ls]", "*a", "&a [*a]", "[1, 2", "{a: 1}"),
)


def value(chance: Random):
    """A scalar, a list or a mapping that is unlikely where it is put."""
    kinds = (NUMBERS, TEXTS, (None, True, False), ([], {}, [[]], [None], [-1] * 5, {"a": 1}, {"name": {}}, [{}]))
    return copy.deepcopy(chance.choice(chance.choices(kinds, (4, 4, 1, 2))[0]))


def tree(root, chance: Random):
    """A copy of a tree of lists and mappings with one place changed."""
    root = [copy.deepcopy(root)]  # in a list, so that the root has a place too
    holder, key = chance.choice([*_places(root)])
    others = [*_places(root)]
    change = chance.choice(_TREE)
    change(holder, key, chance, others)
    return root[0] if root else None


def _places(node):
    """(holder, key) of every value below a list or a mapping."""
    for key in range(len(node)) if isinstance(node, list) else list(node):
        yield node, key
        if isinstance(node[key], list | dict):
            yield from _places(node[key])


def _replace(holder, key, chance, others):
    holder[key] = value(chance)


def _remove(holder, key, chance, others):
    del holder[key]


def _double(holder, key, chance, others):
    if isinstance(holder, list):
        holder[key:key] = [copy.deepcopy(holder[key])] * chance.choice((1, 2, 50))
    else:
        holder[str(key) + chance.choice(("", "2", " ", "_"))] = copy.deepcopy(holder[key])


def _rename(holder, key, chance, others):
    if isinstance(holder, dict):
        name = str(key)
        other = chance.choice((name.upper(), name[:-1], f"{name}s", chance.choice(NUMBERS), chance.choice(TEXTS), None))
        holder[other] = holder[key]
        if other != key:
            del holder[key]


def _swap(holder, key, chance, others):
    other, place = chance.choice(others)
    taken = copy.deepcopy(other[place])
    other[place] = copy.deepcopy(holder[key])
    holder[key] = taken


def _wrap(holder, key, chance, others):
    holder[key] = chance.choice(([holder[key]], {"a": holder[key]}, [holder[key]] * 2, str(holder[key])))


def _bury(holder, key, chance, others):
    for _ in range(chance.choice((3, 100, DEEP))):
        holder[key] = [holder[key]]


def _scale(holder, key, chance, others):
    if isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
        number = holder[key]
        near = number + 0.5 if abs(number) < 2**53 else number + 1  # beyond, no float has a half
        holder[key] = chance.choice((-number, number * 10**6, near, str(number), 0))
    else:
        holder[key] = value(chance)


_TREE = (_replace, _replace, _replace, _scale, _scale, _remove, _double, _rename, _swap, _wrap, _bury)


def rows(table: list[list[str]], chance: Random) -> list[list[str]]:
    """A copy of a table with one cell, row or column changed."""
    table = [list(row) for row in table]
    if not table:
        return [[_cell(chance)]]
    number = chance.randrange(len(table))
    row = table[number]
    column = chance.randrange(len(row)) if row else 0
    change = chance.choice(("cell", "cell", "cell", "near", "drop", "add", "row", "copy", "swap", "column", "turn"))
    if change in ("cell", "near") and row:
        row[column] = _cell(chance) if change == "cell" else _near(row[column], chance)
    elif change == "drop":
        del row[column : column + 1]
    elif change == "add":
        row.insert(column, _cell(chance))
    elif change == "row":
        del table[number]
    elif change == "copy":
        table[number:number] = [list(row)] * chance.choice((1, 3))
    elif change == "swap":
        other = chance.choice(table)
        if other and row:
            place = chance.randrange(len(other))
            row[column], other[place] = other[place], row[column]
    elif change == "column":
        for one in table:
            del one[column : column + 1]
    else:
        width = max(map(len, table))
        table = [[one[n] if n < len(one) else "" for one in table] for n in range(width)]
    return table


def _cell(chance):
    return str(value(chance))


def _near(cell, chance):
    """A cell that is nearly the one given: another case, sign, or length."""
    return chance.choice((cell.upper(), f"-{cell}", f"{cell}{cell}", f" {cell} ", cell[:-1], f'"{cell}', f"{cell}e9"))


def content(data: bytes, chance: Random) -> bytes:
    """Bytes with some flipped, cut, doubled or put in, lines exchanged, or text in another encoding."""
    change = chance.choice(_BYTES)
    return change(data, chance) if data else chance.randbytes(chance.choice((1, 64, 4096)))


def _flip(data, chance):
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 8, 64))):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _overwrite(data, chance):
    start = chance.randrange(len(data))
    filler = chance.choice((b"\x00", b"\xff", b"\x7f", chance.randbytes(4), b"9", b" ")) * chance.choice((1, 2, 4, 64))
    return data[:start] + filler + data[start + len(filler) :]


def _cut(data, chance):
    return chance.choice((data[: chance.randrange(len(data))], data[chance.randrange(len(data)) :], b""))


def _remove_bytes(data, chance):
    start = chance.randrange(len(data))
    return data[:start] + data[start + chance.choice((1, 2, 16, 256)) :]


def _insert(data, chance):
    start = chance.randrange(len(data))
    text = str(value(chance)).encode(errors="surrogatepass")
    return data[:start] + chance.choice((text, chance.randbytes(16), b"\x00" * 64)) + data[start:]


def _repeat(data, chance):
    start = chance.randrange(len(data))
    part = data[start : start + chance.choice((1, 8, 64, 1024))]
    return data[:start] + part * chance.choice((2, 3, 200)) + data[start:]


def _lines(data, chance):
    lines = data.split(b"\n")
    number = chance.randrange(len(lines))
    change = chance.choice(("delete", "copy", "exchange", "indent"))
    if change == "delete":
        del lines[number]
    elif change == "copy":
        lines.insert(chance.randrange(len(lines)), lines[number])
    elif change == "indent":
        lines[number] = chance.choice((b"  ", b"\t", b"- ", b"# ")) + lines[number]
    else:
        other = chance.randrange(len(lines))
        lines[number], lines[other] = lines[other], lines[number]
    return b"\n".join(lines)


def _encode(data, chance):
    text = data.decode("latin-1")
    encoding = chance.choice(("utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "utf-32", "utf-7"))
    return text.encode(encoding)


_BYTES = (_flip, _flip, _flip, _overwrite, _overwrite, _cut, _remove_bytes, _insert, _insert, _repeat, _lines, _encode)
