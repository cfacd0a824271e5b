"""`Finding`: one thing that is wrong with a data set, or worth knowing."""

import dataclasses
from collections.abc import Sequence

NOTE, WARNING, ERROR = "note", "warning", "error"
LEVELS = (NOTE, WARNING, ERROR)
MOST_NAMES = 100  # kept of a finding, so that a page and a JSON file stay small


@dataclasses.dataclass(frozen=True)
class Finding:
    """What was found, how often, and where.

    Args:
        kind: a stable word for programs, such as duplicates_between.
        level: note, warning or error.
        text: one sentence without a period: what was found, and what to do about it.
        count: how often.
        names: the images or classes; at most MOST_NAMES are kept.
        split: train or val; "" if it is about both.
    """

    kind: str
    level: str
    text: str
    count: int
    names: Sequence[str] = ()
    split: str = ""

    def __post_init__(self):
        object.__setattr__(self, "names", tuple(self.names[:MOST_NAMES]))

    def to_json(self) -> dict:
        """The finding as JSON-ready values."""
        return {**dataclasses.asdict(self), "names": list(self.names)}
