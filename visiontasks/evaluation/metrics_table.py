"""The printed table of an evaluation: classes × metrics, then the overall metrics."""

import math

MOST_CLASSES = 40  # rows; of more classes the worst
LONGEST_NAME = 40


def print_metrics(metrics: dict[str, float], tasks: dict, console):
    """Print a table for each head: a row per class and a column per metric, then a row for each overall metric.

    Args:
        metrics: {metric: value}; with several heads {"HEAD/metric": value}; a class's own value is "iou/NAME".
        tasks: {head name: Task}.
        console: a rich Console.
    """
    for number, head in enumerate(tasks):
        prefix = f"{head}/" if len(tasks) > 1 else ""
        of_head = {key.removeprefix(prefix): value for key, value in metrics.items() if key.startswith(prefix)}
        if prefix:
            console.print(f"\n{head}" if number else head)
        _print_head(of_head, console)


def _print_head(metrics, console):
    from rich.cells import cell_len
    from rich.table import Table

    by_class, overall = {}, {}
    for key, value in metrics.items():
        metric, separator, name = key.partition("/")
        if separator:
            by_class.setdefault(name, {})[metric] = value
        else:
            overall[key] = value
    columns = list(dict.fromkeys(metric for values in by_class.values() for metric in values))
    shown = _worst(by_class, columns[0]) if columns else {}
    width = min(LONGEST_NAME, max(map(cell_len, [*shown, *overall, "class"])))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(shown))
    table.add_column("class", width=width, no_wrap=True, overflow="ellipsis")
    for column in columns or ["value"]:
        table.add_column(column, justify="right")
    for name, values in shown.items():
        table.add_row(name, *(_number(values.get(column, math.nan)) for column in columns))
    if shown:
        table.add_row()
    for name, value in overall.items():
        table.add_row(name, _number(value))
    console.print(table)
    if len(shown) < len(by_class):
        console.print(f"the {len(shown)} of {len(by_class)} classes with the lowest {columns[0]}; all: evaluation.json")


def _worst(by_class, metric):
    """The classes to show, in their original order."""
    values = {name: of_class.get(metric, math.nan) for name, of_class in by_class.items()}
    lowest = sorted(values, key=lambda name: (math.isnan(values[name]), values[name]))[:MOST_CLASSES]
    return {name: of_class for name, of_class in by_class.items() if name in lowest}


def _number(value):
    return "-" if math.isnan(value) else f"{value:.4f}"
