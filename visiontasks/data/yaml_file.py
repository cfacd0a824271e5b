"""Reads a YAML file that comes with data, such as a data.yaml or a skeleton."""

from pathlib import Path

import yaml

from visiontasks.data.text import read_text
from visiontasks.errors import DataError

_MOST_BYTES = 2**20  # such files need less


def read_yaml(file: Path, what: str, argument: str):
    """The content of a YAML file.

    Args:
        file: the path.
        what: is expected, for errors.
        argument: that gave the path, for errors.

    Raises:
        DataError: the file is missing, too large, or no YAML.
    """
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise DataError(f"expected {what} of at most {_MOST_BYTES} bytes, got {file}.", argument)
        return yaml.safe_load(read_text(file, what, argument))
    except (OSError, yaml.YAMLError, RecursionError) as error:
        raise DataError(f"expected {what}, got {file}: {error}.", argument) from error
