"""The rows as Markdown, for docs/benchmarks.md."""

import statistics
from collections import defaultdict

POINTS = 0.3  # hundredths that a half precision's score may lie outside float32's spread
SEEDS = 3  # of float32 that show its spread
SHOWN = 4  # names in a list
UNKNOWN = ""


def render(rows: list[dict], heading: dict) -> str:
    """A page of tables, one a kind; any rows may be missing.

    Args:
        rows: those of `Runner`.
        heading: {"command", "date", "minutes"}: what was run, when, and for how long so far.
    """
    by_kind = defaultdict(list)
    for row in rows:
        by_kind[row["kind"]].append(row)
    machine = next(iter(by_kind.pop("machine", [])), {})
    parts = [_head(machine, heading, rows)]
    for kind, (title, columns, cells) in TABLES.items():
        shown = [row for row in by_kind[kind] if row["state"] not in ("no time", "stopped")]
        if shown:
            parts.append(f"### {title}\n\n{_table(columns, [cells(row, machine) for row in shown])}")
    if verdicts := _verdicts(by_kind["trainings"]):
        columns = ("recipe", "data", "float32", "spread, points", "precision", "score", "outside it, points", "")
        title = f"### Half precision beside float32 (at most {POINTS} points outside the spread of its seeds)"
        chance = "Of four runs that differ by their seed alone, one lies outside the spread of the other three half of "
        parts.append(f"{title}\n\n{chance}the time.\n\n{_table(columns, verdicts)}")
    return "\n\n".join(parts) + "\n"


def _head(machine, heading, rows):
    versions = ", ".join(f"{name} {version}" for name, version in machine.get("versions", {}).items())
    where = [machine.get("card", "unknown device"), f"driver {machine['driver']}" if machine.get("driver") else ""]
    where += [f"{machine['cores']} cores" if "cores" in machine else "", f"backend {machine.get('backend', 'unknown')}"]
    lines = [
        f"{heading['date']}: {', '.join(filter(None, where))}.",
        f"Python {machine.get('python', 'unknown')}; {versions or 'versions unknown'}.",
        f"`{heading['command']}`, {heading['minutes']:.1f} minutes.",
    ]
    if peaks := machine.get("peak_flops"):
        shown = ", ".join(f"{name} {value / 1e12:.4g}" for name, value in peaks.items())
        lines.append(f"Matrix products measured here, in TFLOP/s: {shown} (float32: TF32 where the card has it).")
    for state, words in (
        ("no time", "Not measured for lack of time"),
        ("stopped", "Not measured, stopped by a signal"),
    ):
        if missing := [row for row in rows if row["state"] == state]:
            lines.append(f"{words}: {_counted(missing)}.")
    return "\n".join(lines)


def _counted(rows):
    """{kind}: {how many} ({the first})."""
    by_kind = defaultdict(list)
    for row in rows:
        by_kind[row["kind"]].append(name(row))
    shown = (
        f"{len(names)} {kind} ({', '.join(names[:SHOWN])}{', …' if len(names) > SHOWN else ''})"
        for kind, names in by_kind.items()
    )
    return "; ".join(shown)


def name(row: dict) -> str:
    """A row's arguments in words."""
    words = [row.get("recipe") or row.get("peer"), row.get("data"), row.get("precision")]
    words += [f"seed {row['seed']}" if row.get("seed") else None]
    return " ".join(filter(None, words)) or row["kind"]


def _table(columns, lines):
    rule = ["---"] * len(columns)
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in (columns, rule, *lines))


def _note(row):
    """What a reader must know of a row that is not as it should be."""
    notes = [] if row["state"] == "ok" else [f"{row['state']}: {row.get('why', 'unknown')}"]
    if row.get("beside_others"):
        notes.append("timed beside another process, which did not end")
    if "backbone" in row.get("flops_by", ""):
        notes.append("the share is that of the backbone alone")
    if bad := row.get("not_finite"):
        notes.append(f"NaN or infinite: {', '.join(bad[:SHOWN])}{', …' if len(bad) > SHOWN else ''}")
    if "out_of_memory" in row:
        notes.append(f"out of memory at {row['out_of_memory']}")
    if "compiled_why" in row:
        notes.append(f"torch.compile: {row['compiled_why']}")
    return "; ".join(notes).replace("|", "/").replace("\n", " ")


def _number(value, digits=3):
    if not isinstance(value, (int, float)):
        return UNKNOWN if value is None else str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"


def _gigabytes(size):
    return UNKNOWN if size is None else f"{size / 1e9:.2f}"


def _memory(row):
    return f"{_gigabytes(row['peak_bytes'])} ({row['memory_of']})" if "peak_bytes" in row else UNKNOWN


def _share(row, machine):
    """The share of the matrix product's peak."""
    peak = machine.get("peak_flops", {}).get(row.get("precision"))
    if not peak or not row.get("flops") or "step_seconds" not in row:
        return UNKNOWN
    return f"{100 * row['flops'] / row['step_seconds'] / peak:.2g}%"


def scale_path(scales: list) -> str:
    """Loss scales one after another, "32768 ×3, 16384 ×2", and the last."""
    runs = []
    for value in scales:
        if runs and runs[-1][0] == value:
            runs[-1][1] += 1
        else:
            runs.append([value, 1])
    return ", ".join(f"{_number(value, 5)} ×{count}" if count > 1 else _number(value, 5) for value, count in runs)


def _steps(row, machine):
    seconds = row.get("step_seconds")
    return (
        *_which(row),
        _number(seconds and 1 / seconds),
        _number(row.get("images_per_second")),
        _memory(row),
        _number(row.get("first_step_seconds")),
        _share(row, machine),
        f"{_number(row.get('first_loss'), 4)} → {_number(row.get('last_loss'), 4)}",
        scale_path(row.get("loss_scales", [])),
        _note(row),
    )


def _which(row):
    size = row.get("size")
    return row["recipe"], row["precision"], f"{row['batch']}×{size[0]}×{size[1]}" if size else row.get("batch", UNKNOWN)


def _largest(row, machine):
    shown = _by(row.get("images_per_second", {}), _number), _by(row.get("peak_bytes", {}), _gigabytes)
    return row["recipe"], row["precision"], *shown, _note(row)


def _by(values, shown):
    return ", ".join(f"{key}: {shown(value)}" for key, value in values.items())


def _peers(row, machine):
    size = row.get("size")
    return (
        row["peer"],
        row["precision"],
        f"{row['batch']}×{size[0]}×{size[1]}" if size else UNKNOWN,
        *(_number(row.get(key)) for key in ("our_seconds", "their_seconds", "ratio", "compiled_ratio")),
        *(_gigabytes(row.get(key)) for key in ("our_peak_bytes", "their_peak_bytes")),
        _note(row),
    )


def _feeding(row, machine):
    waiting = row.get("waiting")
    fed, resident = row.get("fed_step_seconds"), row.get("resident_step_seconds")
    return (
        row["recipe"],
        row.get("data") or "generated scenes",
        row["precision"],
        f"{row['workers']} {row['worker_kind']}" if "workers" in row else UNKNOWN,
        _by(row.get("images_per_second", {}), _number),
        _number(resident and row["batch"] / resident),
        _number(fed and row["batch"] / fed),
        UNKNOWN if waiting is None else f"{100 * waiting:.0f}%",
        _note(row),
    )


def _trainings(row, machine):
    seconds = row.get("training_seconds")
    minutes = seconds and f"{seconds / 60:.1f}"
    return (
        row["recipe"],
        row["data"] or "generated scenes",
        row["precision"],
        row["seed"],
        _number(row.get("score"), 4),
        row.get("epochs", UNKNOWN),
        minutes or UNKNOWN,
        _note(row),
    )


def _verdicts(rows) -> list[tuple]:
    """A line for each half precision of a recipe and its data that float32 was trained on too."""
    trained = defaultdict(list)
    for row in rows:
        if isinstance(row.get("score"), (int, float)):
            trained[row["recipe"], row["data"]].append(row)
    lines = []
    for (recipe, data), runs in trained.items():
        whole = [run["score"] for run in runs if run["precision"] == "float32"]
        for run in runs:
            if run["precision"] == "float32" or not whole:
                continue
            nearest = min(max(run["score"], min(whole)), max(whole))
            outside = round(100 * (run["score"] - nearest), 6)
            lines.append(
                (
                    recipe,
                    data or "generated scenes",
                    f"{statistics.mean(whole):.4f} ({len(whole)} of {SEEDS} seeds)",
                    f"{100 * (max(whole) - min(whole)):.2f}",
                    run["precision"],
                    f"{run['score']:.4f}",
                    f"{outside:+.2f}",
                    _verdict(outside, run.get("not_finite"), len(whole)),
                )
            )
    return lines


def _verdict(outside, not_finite, seeds):
    # a score that is far too good is as wrong as one that is too low; NaN have a score too
    if not_finite or seeds == SEEDS and abs(outside) > POINTS:
        return "FAIL"
    return "PASS" if seeds == SEEDS else "too few seeds"


# {kind: (title, columns, function from a row and the machine's to cells)}
TABLES = {
    "steps": (
        "Training steps, the batch on the device",
        ("recipe", "precision", "batch", "steps/s", "images/s", "peak memory, GB", "first step beside others, s")
        + ("of the matrix product's peak", "loss", "loss scale", "notes"),
        _steps,
    ),
    "peers": (
        "Beside other packages, in turn",
        ("peer", "precision", "batch", "ours, s", "theirs, s", "ours ÷ theirs", "ours ÷ torch.compile")
        + ("our peak memory, GB", "theirs", "notes"),
        _peers,
    ),
    "feeding": (
        "Input",
        ("recipe", "data", "precision", "workers", "workers: images/s of the Loader")
        + ("images/s of a step on the device", "of a step that is fed")
        + ("waiting", "notes"),
        _feeding,
    ),
    "trainings": (
        "Trainings by the `train` command",
        ("recipe", "data", "precision", "seed", "score", "epochs", "minutes beside others", "notes"),
        _trainings,
    ),
    "largest": (
        "Images a second by batch",
        ("recipe", "precision", "batch: images/s", "batch: peak memory, GB", "notes"),
        _largest,
    ),
}
