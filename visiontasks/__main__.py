"""visiontasks COMMAND …: the commands as subcommands."""

import sys

COMMANDS = ("train", "evaluate", "predict")

USAGE = """visiontasks COMMAND [key=value …]

  train     train what a recipe says
  evaluate  score a run
  predict   answer for pictures

visiontasks COMMAND --help says more."""


def main():
    import importlib

    from visiontasks.errors import near

    command = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if command in ("-h", "--help", "help"):
        print(USAGE)
        raise SystemExit(0)
    if command not in COMMANDS:
        print(f"error: {command}: unknown command. {near(command, COMMANDS)}", file=sys.stderr)
        raise SystemExit(2)
    importlib.import_module(f"visiontasks.{command}").main(sys.argv[2:])


if __name__ == "__main__":
    main()
