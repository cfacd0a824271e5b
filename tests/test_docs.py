"""The README and docs/: recipes, links and the generated reference are those of the code."""

import re
import runpy
from pathlib import Path

import pytest

from visiontasks.recipe import reading

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_pages_name_the_shipped_recipes_and_no_others():
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    commands, names = set(re.findall(r"recipe=(\w+)", text)), set(re.findall(r"`(\w+)`", text))
    assert commands <= reading.available().keys() <= commands | names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text(encoding="utf-8")):
        name, _, heading = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}, target


def test_the_reference_is_current():
    module = runpy.run_path(str(ROOT / "scripts" / "reference.py"))
    assert module["FILE"].read_text(encoding="utf-8") == module["text"](), "run python scripts/reference.py"


def test_the_table_of_layers_is_current():
    module = runpy.run_path(str(ROOT / "scripts" / "layers_table.py"))
    assert module["FILE"].read_text(encoding="utf-8") == module["page"](), "run python scripts/layers_table.py"


def test_the_tests_that_the_table_of_faults_names_exist():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs/faults.md").read_text(encoding="utf-8"))
    assert len(named) > 20
    for file, name in named:
        assert f"\ndef {name}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{name}"
