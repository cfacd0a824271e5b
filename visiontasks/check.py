"""python -m visiontasks.check data=DIR [recipe=NAME|PATH] | run=RUN: what is wrong with data, or a run's files."""

import contextlib
import json
import sys
import types
from pathlib import Path

from visiontasks import cli, standard_streams
from visiontasks.errors import UserError

WORDS = ("data", "recipe", "json", "out", "charts", "run")

USAGE = """python -m visiontasks.check data=DIR [recipe=NAME|PATH] [out=DIR] [json=true] [charts=false] [key=value …]
       python -m visiontasks.check run=RUN [json=true]

  data=DIR     a folder, as for train
  recipe=…     checks what its heads learn from, on the size that they see; without data=, the recipe's own data
  out=DIR      a new folder for check.json, charts and a contact sheet of each class; by default check, or where that
               exists check_2 and so on
  json=true    print JSON alone (docs/check.md); charts are drawn if out= is given
  charts=false write nothing
  key=value    overrides of a recipe=, or the keys of its data without one, such as data.train.values=[0,255]
  run=RUN      instead of data: whether all files of a run are whole (checksums, rows, networks), and from where it can
               be resumed; the newest run of a folder that holds several

exit code: 0 clean, 1 warnings, 2 errors; of a run: 0 whole, 1 damaged, 2 there is none"""


def main(arguments: list[str] | None = None):
    cli.run(check_command, arguments, lambda: USAGE)


def check_command(arguments: list[str]) -> int:
    """Check a data set, print the page or JSON, and write the charts; returns the exit code."""
    words, overrides = cli.words(arguments, WORDS, open_ended=True)
    as_json = cli.flag(words, "json")
    if "run" in words:
        return _check_run(words, overrides, as_json)
    charts = cli.flag({"charts": "true", **words}, "charts") and (not as_json or "out" in words)
    if not as_json:
        return _checked(words, overrides, charts, as_json)
    try:
        return _checked(words, overrides, charts, as_json)
    except UserError as error:
        from visiontasks.data.checks.findings import ERROR, Finding

        _print_json(unreadable(Finding("data", ERROR, str(error), 1)))
        return 2


def _check_run(words, overrides, as_json) -> int:
    from visiontasks.run_files import RunFiles, run_at

    if other := [key for key in words if key not in ("run", "json")] + overrides:
        raise UserError(f"{other[0]}: unknown with run=, which takes json=true alone.")
    found = RunFiles(run_at(words["run"]))
    if as_json:
        _print_json(found.to_json())
    else:
        standard_streams.console().print(found.page())
    return found.exit_code


def _checked(words, overrides, charts, as_json) -> int:
    from visiontasks.data.checks.page import page
    from visiontasks.evaluation.check_charts import write_charts
    from visiontasks.evaluation.results import results_folder, write_json

    if "data" not in words and "recipe" not in words:
        raise UserError("expected data=DIR, recipe=NAME for the recipe's own data, or run=RUN.")
    out = results_folder(words.get("out"), Path("check")) if charts else None
    # JSON is alone on standard output: progress is no part of it
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        checkup = check(words.get("data"), words.get("recipe"), *overrides)
        if out is not None:
            write_charts(checkup, out)
            write_json(out / "check.json", checkup.to_json(), "out")
    if as_json:
        _print_json(checkup.to_json())
        return checkup.exit_code
    console = standard_streams.console()
    console.print(page(checkup))
    if out is not None:
        console.print(f"charts: {out}")
    return checkup.exit_code


def check(data=None, recipe: str | None = None, *overrides: str):
    """Look at a data set, without Keras: a `visiontasks.data.checks.checkup.Checkup`.

    Args:
        data: a folder, or what `load_data` takes; None: the recipe's.
        recipe: a shipped recipe's name, or a YAML file: its heads decide which labels are looked at.
        *overrides: of the recipe, "data.size=[320,320]" and the like; without a recipe its keys below data.

    Raises:
        UserError: the data cannot be read, or the recipe's heads do not find their labels in them.
    """
    from visiontasks import build
    from visiontasks.data.bit_depth import settle_bits
    from visiontasks.data.checks.checkup import check_sources
    from visiontasks.data.detect import detect
    from visiontasks.data.load import load_sources
    from visiontasks.recipe.found import serve_both
    from visiontasks.recipe.reading import read_data
    from visiontasks.recipe.schema import DataRecipe, RunRecipe, recipe_paths

    if recipe is None:
        splits, reading = detect(data) if isinstance(data, (str, Path)) else (data, "")
        if reading:
            splits, overrides, note = serve_both(splits, overrides)
            reading += f" Note: {note}." if note else ""
        with recipe_paths():
            train, val = load_sources(read_data(splits, overrides), (), DataRecipe().split, RunRecipe().seed)
        settle_bits([train, val])
        return check_sources(train, val, reading=reading)
    folder = data if isinstance(data, (str, Path)) else None
    made, reading = build.recipe(recipe, overrides, None if folder is None else str(folder))
    sources = build.sources(made, None if folder is not None else data)
    settle_bits(sources, made.data.bits)
    return check_sources(*sources, build.fields(made, sources[0].fields), tuple(made.data.size), reading)


def unreadable(finding) -> dict:
    """The JSON of data that cannot be read at all."""
    from visiontasks.data.checks.checkup import STATUS, VERSION

    empty = {"reading": "", "fields": [], "splits": {}}
    return {"version": VERSION, "status": STATUS[2], **empty, "findings": [finding.to_json()]}


def _print_json(value):
    print(json.dumps(value, indent=2, ensure_ascii=False))


# The package gives `check` as it gives `load`, from its table of names. But `import visiontasks.check` makes Python set
# this module as the package's attribute of that name once it has run, and the table is not asked any more. The other
# commands' names are no functions of the package (it has `score` beside the module evaluate), and `python -m
# visiontasks.check` needs a module of this name: so the module itself can be called.
class _Callable(types.ModuleType):
    def __call__(self, *arguments, **named):
        return check(*arguments, **named)


sys.modules[__name__].__class__ = _Callable

if __name__ == "__main__":
    main()
