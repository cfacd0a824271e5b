"""What a source skipped, corrected or warned about."""

import collections


class Report:
    """What a source skipped, corrected or warned about: the count and the names of each kind."""

    SHOWN = 5

    def __init__(self):
        self._seen: dict[str, dict[str, None]] = collections.defaultdict(dict)
        self._fresh: list[tuple[str, str]] = []

    def add(self, what: str, name: str):
        """Note that `what` (such as "truncated JPEG, skipped") happened to `name`; the same pair counts once."""
        if name not in self._seen[what]:
            self._seen[what][name] = None
            self._fresh.append((what, name))

    def fresh(self) -> list[tuple[str, str]]:
        """The notes since the last call: a worker process has its own copy of the report and sends these."""
        taken = self._fresh.copy()
        self._fresh.clear()
        return taken

    def join(self, other: "Report"):
        """Take over another report's notes, also those to come."""
        for what, names in other._seen.items():
            self._seen[what] |= names
        self._fresh += other._fresh
        other._seen, other._fresh = self._seen, self._fresh

    def count(self, what: str) -> int:
        return len(self._seen.get(what, ()))

    def items(self) -> list[tuple[str, list[str]]]:
        """[(what happened, the names that it happened to)]."""
        return [(what, list(names)) for what, names in self._seen.items()]

    def __bool__(self):
        return bool(self._seen)

    def whole(self) -> str:
        """All names: one line per kind, then one line per name."""
        return "\n".join(
            f"{len(names)} × {what}:\n" + "\n".join(f"  {name}" for name in names) for what, names in self._seen.items()
        )

    def __str__(self):
        """One line per kind: the count, what happened, the first names."""
        lines = []
        for what, names in self._seen.items():
            shown = ", ".join(list(names)[: self.SHOWN]) + (", …" if len(names) > self.SHOWN else "")
            lines.append(f"{len(names)} × {what}: {shown}")
        return "\n".join(lines)
