"""Runs the contracts of precision, XLA and training under several instruction sets, alone and beside other work.

    python scripts/check_processors.py [--repeats 5] [--tests tests/contracts/test_contracts_precision.py …]

A processor rounds as its instructions do, and sums in the order in which its threads come. Each line of the table is
one run of the tests: whether all passed, and of each kind of comparison (tests/rounding.py) the largest share of its
bound that an error took. Exit status 1 if a run failed.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = ["tests/contracts/test_contracts_precision.py", "tests/contracts/test_contracts_training.py"]
# what oneDNN and XLA may use; "default" is what the commands set
SETS = {
    "default": {},
    "AVX512_CORE": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
    # oneDNN kept to AVX2 refuses the bfloat16 that TensorFlow gives it on a processor with AVX-512: all by Eigen
    "AVX2": {"TF_ENABLE_ONEDNN_OPTS": "0", "XLA_FLAGS": "--xla_cpu_max_isa=AVX2"},
    # as a processor with AVX2 alone does float32: choose with -k tests without bfloat16
    "AVX2_float32": {"ONEDNN_MAX_CPU_ISA": "AVX2", "XLA_FLAGS": "--xla_cpu_max_isa=AVX2"},
}
NAMES = {name for settings in SETS.values() for name in settings}
LOADS = {"alone": 0, "two beside": 2}
KINDS = ("layers", "network", "medians", "losses", "metrics")


@contextlib.contextmanager
def busy(count):
    """As many processes that do nothing but count."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def kind_of(line) -> str:
    return next((kind for kind in KINDS if kind in line["test"]), "other")


def run(tests, environment, count) -> dict:
    """One run: whether it passed, its seconds, and {kind: the line with the largest share}."""
    clean = {key: value for key, value in os.environ.items() if key not in NAMES}
    with tempfile.TemporaryDirectory() as folder, busy(count):
        margins, start = Path(folder) / "margins.jsonl", time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
            cwd=ROOT,
            env={**clean, **environment, "MARGINS": str(margins)},
            capture_output=True,
            text=True,
        )
        lines = [json.loads(line) for line in margins.read_text().splitlines()] if margins.exists() else []
    worst = {
        kind: max((x for x in lines if kind_of(x) == kind), key=lambda x: x["share"], default=None) for kind in KINDS
    }
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return {"passed": done.returncode == 0, "seconds": time.monotonic() - start, "worst": worst, "failed": failed}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=["default", "AVX512_CORE", "AVX2"])
    parser.add_argument("--loads", nargs="+", choices=LOADS, default=list(LOADS))
    parser.add_argument("--tests", nargs="+", default=TESTS, help="files or tests, and options of pytest after them")
    options, further = parser.parse_known_args()
    print(f"{'instructions':14}{'load':12}{'run':>4}{'passed':>8}{'s':>6}" + "".join(f"{kind:>9}" for kind in KINDS))
    passed = True
    for name in options.sets:
        for load in options.loads:
            for repeat in range(1, options.repeats + 1):
                one = run([*options.tests, *further], SETS[name], LOADS[load])
                shares = ("-" if line is None else f"{line['share']:.2f}" for line in one["worst"].values())
                head = f"{name:14}{load:12}{repeat:4}{'yes' if one['passed'] else 'NO':>8}{one['seconds']:6.0f}"
                print(head + "".join(f"{share:>9}" for share in shares), flush=True)
                print("\n".join(f"    {line}" for line in one["failed"]), end="\n" if one["failed"] else "", flush=True)
                passed &= one["passed"]
    sys.exit(not passed)


if __name__ == "__main__":
    main()
