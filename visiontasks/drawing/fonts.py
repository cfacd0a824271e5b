"""Finds a font for class names in any script."""

import functools


def font_file(text: str) -> str:
    """The file of a font that has all letters of the text: matplotlib's DejaVu Sans, or an installed one.

    If no installed font has them, it is DejaVu Sans, which draws missing letters as boxes.
    """
    return _font_file("".join(sorted(set(text))))


@functools.lru_cache(maxsize=1024)
def _font_file(letters):
    import matplotlib
    from matplotlib.font_manager import fontManager

    default = f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf"
    if _covers(default, letters):
        return default
    # the "last resort" font claims to have every letter, but draws boxes
    others = (font.fname for font in fontManager.ttflist if "LastResort" not in font.fname)
    return next((path for path in others if _covers(path, letters)), default)


def _covers(path, letters):
    known = _charmap(path)
    return all(ord(letter) in known for letter in letters)


@functools.cache
def _charmap(path):
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
    except (OSError, RuntimeError):  # a deleted file, or not an outline font
        return frozenset()
    return frozenset(font.get_charmap()) if font.scalable else frozenset()
