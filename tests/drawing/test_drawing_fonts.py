"""Fonts for class names."""

from pathlib import Path

import pytest
from matplotlib import font_manager

from visiontasks.drawing import fonts


@pytest.mark.parametrize("text", ["cat", "Käfer Жук γάτα", "", "naïve café"])
def test_common_scripts_take_the_font_that_ships_with_matplotlib(text):
    assert Path(fonts.font_file(text)).name == "DejaVuSans.ttf"


def test_a_letter_that_it_lacks_comes_from_an_installed_font():
    """matplotlib's STIX has letters that its DejaVu Sans does not have; any installed font is asked the same way."""
    stix = next(f.fname for f in font_manager.fontManager.ttflist if Path(f.fname).name == "STIXGeneral.ttf")
    dejavu, stix_has = (fonts._charmap(path) for path in (fonts.font_file("a"), stix))
    letter = chr(min(stix_has - dejavu))
    result = fonts.font_file(letter)
    assert ord(letter) in fonts._charmap(result)
    assert "LastResort" not in result


def test_a_letter_that_no_font_has_falls_back():
    assert Path(fonts.font_file("\U0010fffd")).name == "DejaVuSans.ttf"
