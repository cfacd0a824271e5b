"""What happened to a source's images and labels on their way to training."""

import collections
from typing import NamedTuple


class Note(NamedTuple):
    """What happened, to which file or object, and whether training does not see that; worker processes send these."""

    what: str
    name: str
    skipped: bool


class Report:
    """What a source skipped, and what else it has to say: the count and the names of each kind.

    `skipped` is for what the set has and training does not see: an image, an object, a keypoint, a mask or a part of
    one. `python -m visiontasks.check` warns of it. `noted` is for all that costs no image and no label: they are read
    otherwise than they are written; something is assumed; a class has no image; or it was left aside what is no labeled
    image of this set, such as a test set without labels, the rows of another split, a hidden folder or a column of
    something else.
    """

    SHOWN = 5

    def __init__(self):
        self._seen: dict[tuple[str, bool], dict[str, None]] = collections.defaultdict(dict)
        self._fresh: list[Note] = []

    def skipped(self, what: str, name: str):
        """Training does not see `name`, because of `what`, such as "truncated JPEG, skipped"."""
        self.add(Note(what, name, True))

    def noted(self, what: str, name: str):
        """`what`, such as "percent-encoded file name", happened to `name`, of which nothing is lost."""
        self.add(Note(what, name, False))

    def add(self, note: Note):
        """Take over a note of a worker process; the same one counts once."""
        names = self._seen[note.what, note.skipped]
        if note.name not in names:
            names[note.name] = None
            self._fresh.append(note)

    def take(self, items: list):
        """Take over what `items` gives of the report of another process."""
        for what, names, skipped in items:
            for name in names:
                self.add(Note(what, name, skipped))

    def fresh(self) -> list[Note]:
        """The notes since the last call: a worker process has its own copy of the report and sends these."""
        taken = self._fresh.copy()
        self._fresh.clear()
        return taken

    def join(self, other: "Report"):
        """Take over another report's notes, also those to come."""
        for kind, names in other._seen.items():
            self._seen[kind] |= names
        self._fresh += other._fresh
        other._seen, other._fresh = self._seen, self._fresh

    def count(self, what: str) -> int:
        return sum(len(names) for kind, names, _ in self.items() if kind == what)

    def items(self) -> list[tuple[str, list[str], bool]]:
        """[(what happened, the names that it happened to, whether training does not see them)]."""
        return [(what, list(names), skipped) for (what, skipped), names in self._seen.items()]

    def __bool__(self):
        return bool(self._seen)

    def whole(self) -> str:
        """All names: one line per kind, then one line per name."""
        return "\n".join(
            f"{len(names)} × {what}:\n" + "\n".join(f"  {name}" for name in names) for what, names, _ in self.items()
        )

    def __str__(self):
        """One line per kind: the count, what happened, the first names."""
        lines = []
        for what, names, _ in self.items():
            shown = ", ".join(names[: self.SHOWN]) + (", …" if len(names) > self.SHOWN else "")
            lines.append(f"{len(names)} × {what}: {shown}")
        return "\n".join(lines)
