"""visiontasks COMMAND …: the commands as subcommands."""

import sys

COMMANDS = {  # and the modules that they are
    "train": "visiontasks.train",
    "evaluate": "visiontasks.evaluate",
    "predict": "visiontasks.predict",
    "backbones": "visiontasks.backbones.__main__",
}

USAGE = """visiontasks COMMAND [key=value …]

  train     train what a recipe says
  evaluate  score a run
  predict   answer for pictures
  backbones what the backbones cost and see

visiontasks COMMAND --help says more; visiontasks --version prints the version."""


def main():
    import importlib

    import visiontasks
    from visiontasks.errors import near

    command = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if command in ("-h", "--help", "help"):
        print(USAGE)
        raise SystemExit(0)
    if command == "--version":
        print(f"visiontasks {visiontasks.__version__}")
        raise SystemExit(0)
    if command not in COMMANDS:
        print(f"error: {command}: unknown command. {near(command, COMMANDS)}", file=sys.stderr)
        raise SystemExit(2)
    importlib.import_module(COMMANDS[command]).main(sys.argv[2:])


if __name__ == "__main__":
    main()
