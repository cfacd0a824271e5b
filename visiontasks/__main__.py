"""visiontasks COMMAND …: the commands as subcommands."""

import importlib
import sys

from visiontasks import __version__, cli
from visiontasks.errors import UserError, near

COMMANDS = {
    "check": "visiontasks.check",
    "train": "visiontasks.train",
    "evaluate": "visiontasks.evaluate",
    "predict": "visiontasks.predict",
    "explain": "visiontasks.explain.__main__",
    "embed": "visiontasks.embed",
    "backbones": "visiontasks.backbones.__main__",
}

USAGE = """visiontasks COMMAND [key=value …]

  check      look for what is wrong with a data set, before training
  train      train a recipe
  evaluate   score a run on its validation set, or on other data
  predict    predict images or videos with a run, or with published weights
  explain    what a prediction is based on, as a map over the image, and whether it may be believed
  embed      which images of a folder are alike: neighbors, near duplicates, a map, retrieval scores
  backbones  what the backbones cost and see, and which have published weights

  visiontasks COMMAND --help  the words of a command
  visiontasks --version       the version"""


def main():
    name, *rest = sys.argv[1:] or ["--help"]
    if name in COMMANDS:
        importlib.import_module(COMMANDS[name]).main(rest)
    elif name == "--version":
        print(f"visiontasks {__version__}")
    else:
        cli.run(_unknown, [name, *rest], lambda: USAGE)


def _unknown(arguments):
    raise UserError(f"{arguments[0]}: unknown command. {near(arguments[0], COMMANDS)}")


if __name__ == "__main__":
    main()
