"""Measures this package on a GPU, unattended.

    python scripts/gpu.py [--minutes 25] [--out gpu_results] [--backend jax|torch|tensorflow] [--data DIR|ARCHIVE] \
        [--only KIND …] [--scratch DIR] [--tiny]

For a machine with JAX or PyTorch on CUDA, and no network: scripts/gpu_wheels.sh brings what it may lack. Measurements
run one after another by their worth (scripts/gpu_measures/plan.py) until the minutes are spent, each in a process of
its own, so that a crash, a hang or a lack of memory costs one row. Each row is written as it ends:

    OUT/results.jsonl   a JSON object a row
    OUT/table.md        the same as tables for docs/benchmarks.md
    OUT/gpu.log         the last lines of processes that failed

Run it again with the same OUT to continue: rows that are "ok" are not measured again. Nothing is written outside OUT
and the scratch folder (by default in OUT), which is removed at the end. Without a GPU it ends at once. --tiny runs all
of it so small that a CPU does it; its numbers say nothing.
"""

import argparse
import json
import os
import shutil
import sys
import time
from datetime import date
from pathlib import Path

sys.dont_write_bytecode = True  # nothing is written into the checkout
SCRIPTS = Path(__file__).resolve().parent
sys.path[:0] = [str(SCRIPTS.parent), str(SCRIPTS)]

from gpu_measures import plan, table  # noqa: E402
from gpu_measures.running import Runner  # noqa: E402

from visiontasks.signals import handled  # noqa: E402
from visiontasks.training.devices import cores  # noqa: E402

KINDS = tuple(table.TABLES)
DATA = SCRIPTS.parents[1] / "shared/data"  # beside the checkout, where it is there
CORES_A_PROCESS = 4  # few at once: XLA tries its kernels on the card while it compiles
# compiling is what takes the time on a CPU; the steps are few
TINY = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}


def main():
    given = arguments()
    out = Path(given.out).resolve()
    scratch = (Path(given.scratch) if given.scratch else out).resolve() / ".gpu_scratch"
    shutil.rmtree(scratch, ignore_errors=True)  # of a run that was killed
    scratch.mkdir(parents=True)
    out.mkdir(parents=True, exist_ok=True)
    try:
        results = Results(out, " ".join(["python scripts/gpu.py", *sys.argv[1:]]))
        data = folder_of(given.data, scratch)
        environment = {"KERAS_BACKEND": given.backend, **({"GPU_DATA": data} if data else {})}
        at_once = cores() if given.tiny else max(1, cores() // CORES_A_PROCESS)
        environment |= TINY if given.tiny else {}
        runner = Runner(scratch, out / "gpu.log", 60 * given.minutes, at_once, results.add, environment)
        wanted = plan.measurements(given.tiny, given.only)
        with handled(runner.stop):
            runner.run(wanted[:1])  # the machine
            if failed := results.rows[wanted[0].key]["state"] not in ("ok", "stopped"):
                print(f"The machine cannot be measured; {out / 'gpu.log'} says why.", file=sys.stderr)
            else:
                runner.run(one for one in wanted[1:] if one.key not in results.done)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print((out / "table.md").read_text(encoding="utf-8"))
    return 130 if runner.stopped else int(failed)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--out", default="gpu_results")
    parser.add_argument("--backend", choices=("jax", "torch", "tensorflow"), default="jax")
    parser.add_argument("--data", default=DATA if DATA.is_dir() else None, help="a folder of data sets, or an archive")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=())
    parser.add_argument("--scratch", help="a folder for what frameworks write; by default OUT")
    parser.add_argument("--tiny", action="store_true", help="everything so small that a CPU does it")
    return parser.parse_args()


def folder_of(data, scratch: Path) -> str | None:
    """The folder of data sets; an archive is unpacked."""
    if data is None or Path(data).is_dir():
        return data and str(Path(data).resolve())
    shutil.unpack_archive(data, scratch / "data")
    return str(scratch / "data")


class Results:
    """The rows of a folder, those of earlier runs too, and their tables.

    Attributes:
        rows: {key: row}.
        done: the keys of rows that need not be measured again.
    """

    def __init__(self, out: Path, command: str):
        self.out, self.begun, self.command = out, time.monotonic(), command
        self.rows = {row["key"]: row for row in read(out / "results.jsonl")}
        self.done = {key for key, row in self.rows.items() if row["state"] == "ok"}

    def add(self, row: dict):
        """Write a row, and the tables with it.

        Raises:
            SystemExit: the folder's rows are of another device or backend.
        """
        before = self.rows.get(row["key"])
        if before and row["state"] in ("no time", "stopped"):
            return  # what an earlier run has measured says more
        known = before and row["kind"] == "machine" and before["state"] == row["state"] == "ok"
        if known and (was := _where(before)) != (now := _where(row)):
            raise SystemExit(f"{self.out} holds rows of {was}, and this is {now}; give another --out.")
        self.rows[row["key"]] = row
        with (self.out / "results.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        minutes = (time.monotonic() - self.begun) / 60
        heading = {"command": self.command, "date": date.today().isoformat(), "minutes": minutes}
        # never a half-written file
        new = self.out / ".table.md"
        new.write_text(table.render(list(self.rows.values()), heading), encoding="utf-8")
        os.replace(new, self.out / "table.md")
        print(f"{minutes:5.1f}  {row['kind']:10} {table.name(row)}: {row['state']} {row.get('why', '')}", flush=True)


def _where(row):
    return f"{row.get('card')} ({row.get('backend')})"


def read(path: Path) -> list[dict]:
    """The rows of an earlier run; a last line that is cut short is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


if __name__ == "__main__":
    sys.exit(main())
