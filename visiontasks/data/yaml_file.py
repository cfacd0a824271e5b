"""Reads a YAML file that comes with data, such as a data.yaml or a skeleton."""

import math
from pathlib import Path

import yaml

from visiontasks.data.text import read_text
from visiontasks.errors import DataError

_MOST_BYTES = 2**20  # such files need less
_MOST_LENGTH = 2 * _MOST_BYTES  # if aliases are written out: ten of ten of ten … take few bytes


def read_yaml(file: Path, what: str, argument: str | None):
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
        content = yaml.safe_load(read_text(file, what, argument))
        if _length(content, {}) > _MOST_LENGTH:
            raise DataError(
                f"expected {what} of at most {_MOST_LENGTH} characters, got {file}, whose aliases (*name) "
                "repeat what they stand for more often.",
                argument,
            )
        return content
    except DataError:
        raise
    # a number of 5000 digits, a date of month 13, a tag such as !!int of an empty text
    except (OSError, yaml.YAMLError, RecursionError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"expected {what}, got {file}: {error}.", argument) from error


def _length(content, seen: dict) -> float:
    """About how many characters some content has, if its aliases are written out; infinite if it contains itself."""
    if not isinstance(content, (dict, list, tuple, set)):
        return 1 + (len(content) if isinstance(content, (str, bytes)) else 0)
    if id(content) not in seen:
        seen[id(content)] = math.inf
        parts = [*content, *content.values()] if isinstance(content, dict) else content
        seen[id(content)] = 1 + sum(_length(part, seen) for part in parts)
    return seen[id(content)]
