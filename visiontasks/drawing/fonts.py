"""Finds a font for class names in any script."""

import functools


def font_file(text: str) -> str:
    """The file of a font that has all of the text's letters: matplotlib's DejaVu Sans, or else an installed one.

    Where no installed font has them it is DejaVu Sans, and the missing letters are drawn as boxes.
    """
    return _font_file("".join(sorted(set(text))))


@functools.lru_cache(maxsize=1024)
def _font_file(letters):
    import matplotlib
    from matplotlib.font_manager import fontManager

    own = f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf"
    if _covers(own, letters):
        return own
    # the "last resort" font claims every letter, and draws boxes
    others = (font.fname for font in fontManager.ttflist if "LastResort" not in font.fname)
    return next((path for path in others if _covers(path, letters)), own)


def _covers(path, letters):
    known = _charmap(path)
    return all(ord(letter) in known for letter in letters)


@functools.cache
def _charmap(path):
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
    except (OSError, RuntimeError):  # a file that went away, or is no outline font
        return frozenset()
    return frozenset(font.get_charmap()) if font.scalable else frozenset()
