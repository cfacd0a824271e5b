"""Every shipped recipe: fits its parts, says what it is, and names the command."""

import pytest

from visiontasks import build, recipe

RECIPES = sorted(recipe.available())


@pytest.mark.parametrize("name", RECIPES)
def test_fits_the_signatures_of_its_parts(name):
    build.check(recipe.read(name))


@pytest.mark.parametrize("name", RECIPES)
def test_its_comment_gives_source_command_and_where_the_figure_is_from(name):
    text = "\n".join(recipe.comment(recipe.RECIPES / f"{name}.yaml"))
    assert f"recipe={name}" in text
    assert "http" in text
    assert "easured" in text  # measured here with hardware and minutes, or said to be not
