"""scripts/gpu.py: the order and the time of its measurements, what a failed process costs, its tables, going on."""

import json
import sys
import time
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"

# stands for gpu_measures.child: what it is to do is the kind
PROCESS = """
import json, os, signal, sys, time
sys.path.insert(0, sys.argv[1])
from gpu_measures import child
kind, number = sys.argv[2], json.loads(sys.argv[3])["number"]
child.report(before=number)
if kind == "crash":
    os.kill(os.getpid(), signal.SIGSEGV)
if kind == "hang":
    time.sleep(60)
if kind == "half":
    open(os.environ["GPU_ROW"], "a").write('{"after": tr')
    raise MemoryError("all of it")
if kind == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(60)
if kind == "holds" and number == 0:
    with child.beside_others():
        open(os.environ["GPU_SCRATCH"] + "/held", "w").close()
        time.sleep(60)
if kind == "holds":
    while not os.path.exists(os.environ["GPU_SCRATCH"] + "/held"):
        time.sleep(0.02)
    child.PATIENCE = 0.1
    with child.alone():
        pass
if kind == "together":
    with child.beside_others():
        open(os.environ["GPU_SCRATCH"] + f"/together{number}", "w").close()
        end = time.time() + 30
        while len([name for name in os.listdir(os.environ["GPU_SCRATCH"]) if name.startswith("together")]) < 2:
            assert time.time() < end, "nobody else came"
            time.sleep(0.02)
begun = ended = time.time()
if kind == "locked":
    with (child.alone if number == 0 else child.beside_others)():
        begun = time.time()
        time.sleep(0.3)
        ended = time.time()
child.report(state="ok", begun=begun, ended=ended)
"""


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.setattr(sys, "dont_write_bytecode", sys.dont_write_bytecode)  # which gpu.py sets
    import gpu

    return gpu


@pytest.fixture
def run(gpu, tmp_path):
    """Runs measurements; their rows, and the runner's log."""
    from gpu_measures.running import Runner

    script = tmp_path / "process.py"
    script.write_text(PROCESS)

    def run(measurements, seconds=30.0, at_once=1, on_row=None):
        rows = []
        command = (sys.executable, str(script), str(SCRIPTS))
        runner = Runner(tmp_path / "scratch", tmp_path / "log", seconds, at_once, rows.append, command=command)
        if on_row:
            runner.on_row = lambda row: (rows.append(row), on_row(runner))
        runner.run(measurements)
        return rows

    return run


def measurements(*kinds, limit=20.0, least=0.1, alone=True):
    from gpu_measures.running import Measurement

    return [Measurement(kind, {"number": i}, limit, least, alone) for i, kind in enumerate(kinds)]


def test_a_crash_an_error_or_a_hang_costs_one_row(run, tmp_path):
    made = measurements("well", "crash", "half", "well")
    made[3:3] = measurements("hang", limit=0.5)
    rows = run(made)
    assert [row["state"] for row in rows] == ["ok", "failed", "failed", "timed out", "ok"]
    assert "SIGSEGV" in rows[1]["why"]
    assert all("before" in row for row in rows), "what was measured before the failure is lost"
    assert "after" not in rows[2]  # a line cut short
    assert "MemoryError: all of it" in (tmp_path / "log").read_text()


def test_a_process_that_ignores_the_signal_is_ended(run, monkeypatch):
    from gpu_measures import running

    monkeypatch.setattr(running, "GRACE", 0.3)
    begun = time.monotonic()
    assert run(measurements("stubborn", limit=0.5))[0]["state"] == "timed out"
    assert time.monotonic() - begun < 50  # it would sleep for 60


def test_nothing_is_begun_that_the_time_does_not_allow(run):
    long = measurements("well", least=100.0, limit=200.0)
    rows = run([*long, *measurements("well", "well")[1:]], seconds=60.0)
    assert [row["state"] for row in rows] == ["no time", "ok"]


def test_a_process_ends_with_the_time_of_all(run, monkeypatch):
    from gpu_measures import running

    monkeypatch.setattr(running, "ENDING", 0.5)
    rows = {row["number"]: row for row in run(measurements("hang", "well"), seconds=1.5)}
    assert [rows[number]["state"] for number in (0, 1)] == ["timed out", "no time"]
    assert rows[0]["seconds"] < 50  # it would sleep for 60


def test_a_signal_leaves_a_row_for_everything(run):
    rows = run(measurements("well", "hang", "well"), on_row=lambda runner: runner.stop())
    assert [row["state"] for row in rows] == ["ok", "stopped", "stopped"]


def test_those_of_a_kind_run_beside_each_other_but_no_time_is_taken_meanwhile(run):
    rows = run(measurements("locked", "locked", "locked", alone=False), at_once=3)
    assert [row["state"] for row in rows] == ["ok"] * 3
    (alone,), others = ([row for row in rows if (row["number"] == 0) is first] for first in (True, False))
    assert all(other["ended"] <= alone["begun"] or alone["ended"] <= other["begun"] for other in others)
    rows = run(measurements("well", "well"), at_once=3)
    assert rows[0]["ended"] <= rows[1]["begun"]


def test_those_of_a_kind_compile_at_the_same_time(run):
    assert [row["state"] for row in run(measurements("together", "together", alone=False), at_once=2)] == ["ok", "ok"]


def test_one_that_never_ends_does_not_keep_another_from_timing(run):
    both = measurements("holds", "holds", alone=False)
    rows = {row["number"]: row for row in run(both, seconds=10.0, at_once=2)}
    assert rows[0]["state"] == "timed out" and rows[1]["state"] == "ok"
    assert rows[1]["beside_others"]


def test_what_would_be_missed_most_comes_first(gpu):
    from gpu_measures import plan, recipes

    made = plan.measurements()
    assert made[0].kind == "machine"
    steps = [(one.arguments["recipe"], one.arguments["precision"]) for one in made if one.kind == "steps"]
    first = [one.kind for one in made[1 : 1 + len(plan.FIRST) * len(plan.PRECISIONS)]]
    assert set(first) == {"steps"} and set(plan.FIRST) <= set(recipes.measured())
    assert set(steps[: len(first)]) == {(name, precision) for name in plan.FIRST for precision in plan.PRECISIONS}
    assert set(steps) == {(name, precision) for name in recipes.measured() for precision in plan.PRECISIONS}
    assert {"classify", "tagging", "unet_seg", "ssd_det", "yolo_det", "faster_rcnn", "retinanet_det"} <= set(
        recipes.measured()
    )
    assert len({one.key for one in made}) == len(made)
    trained = {(one.arguments["recipe"], one.arguments["data"]) for one in made if one.kind == "trainings"}
    assert {("classify", "flowers"), ("unet_seg", "nuclei"), ("yolo_det", "bccd"), ("tagging", "bccd")} <= trained
    assert {one.kind for one in plan.measurements(kinds=["steps"])} == {"machine", "steps"}


def test_the_small_ones_have_every_kind_and_every_recipe(gpu):
    from gpu_measures import plan, recipes, table

    made = plan.measurements(tiny=True)
    assert {one.kind for one in made} == {"machine", *table.TABLES}
    for kind in ("steps", "largest", "feeding", "trainings"):
        assert {one.arguments["recipe"] for one in made if one.kind == kind} == set(recipes.measured())
    assert len({one.arguments["seed"] for one in made if one.kind == "trainings"}) == 3


def trained(precision, seed, score):
    return {"kind": "trainings", "recipe": "classify", "data": "flowers", "precision": precision, "seed": seed} | {
        "key": f"{precision} {seed}",
        "state": "ok",
        "score": score,
        "epochs": 2,
        "training_seconds": 90.0,
    }


MACHINE = {"kind": "machine", "key": "machine", "state": "ok", "card": "A card", "driver": "1.2", "cores": 16} | {
    "python": "3.12.3",
    "backend": "jax",
    "versions": {"keras": "3.15.1"},
    "peak_flops": {"float32": 1e12, "mixed_bfloat16": 4e12},
}
STEP = {"kind": "steps", "recipe": "classify", "precision": "mixed_bfloat16", "key": "step", "state": "ok"}
HEADING = {"command": "python scripts/gpu.py", "date": "2026-11-26", "minutes": 1.0}


def test_the_tables_hold_what_was_measured_and_say_what_was_not(gpu):
    from gpu_measures import table

    measured = {"batch": 16, "size": [224, 224], "step_seconds": 0.01, "images_per_second": 1600.0, "flops": 1e10}
    measured |= {"peak_bytes": 2.5e9, "memory_of": "device", "first_loss": 1.5, "last_loss": 0.5}
    rows = [
        MACHINE,
        {**STEP, **measured},
        {**STEP, "precision": "mixed_float16", "loss_scales": [4.0, 4.0, 2.0], "not_finite": ["a/kernel"]},
        {**STEP, "precision": "float32", "state": "failed", "why": "a | crash"},
        {"kind": "largest", "recipe": "tagging", "precision": "float32", "state": "no time"},
        {"kind": "peers", "peer": "resnet50", "precision": "float32", "state": "skipped", "why": "no PyTorch"},
    ]
    text = table.render(rows, HEADING)
    for words in ("A card", "driver 1.2", "keras 3.15.1", "lack of time: 1 largest (tagging float32)", "no PyTorch"):
        assert words in text, words
    assert "| classify | mixed_bfloat16 | 16×224×224 | 100 | 1,600 | 2.50 (device) |" in text
    assert "25%" in text  # 1e10 operations in 0.01 s, of 4e12 a second
    assert "4 ×2, 2" in text and "NaN or infinite: a/kernel" in text and "a / crash" in text
    for block in text.split("\n\n"):
        widths = {line.count(" | ") for line in block.splitlines() if line.startswith("| ")}
        assert len(widths) <= 1, block


@pytest.mark.parametrize(
    ("score", "lost", "verdict"),
    [
        (0.897, [], "PASS"),
        (0.91, [], "PASS"),
        (0.923, [], "PASS"),
        (0.8969, [], "FAIL"),
        (0.9231, [], "FAIL"),
        (0.91, ["val_loss"], "FAIL"),
    ],
)
def test_half_precision_is_judged_by_the_spread_of_float32(gpu, score, lost, verdict):
    from gpu_measures import table

    rows = [trained("float32", seed, value) for seed, value in enumerate((0.91, 0.90, 0.92))]
    text = table.render([*rows, {**trained("mixed_bfloat16", 0, score), "not_finite": lost}], HEADING)
    (line,) = (line for line in text.splitlines() if line.endswith(("PASS |", "FAIL |")))
    assert "0.9100 (3 of 3 seeds) | 2.00 | mixed_bfloat16" in line
    assert line.endswith(f"{verdict} |")
    if not lost:
        text = table.render([*rows[1:], trained("mixed_bfloat16", 0, score)], HEADING)
        assert "too few seeds" in text and "FAIL" not in text


def test_a_run_goes_on_where_an_earlier_one_ended(gpu, tmp_path):
    (tmp_path / "results.jsonl").write_text("\n".join([json.dumps(MACHINE), json.dumps(STEP), '{"key": "cut']))
    results = gpu.Results(tmp_path, "command")
    assert results.done == {"step", "machine"}
    results.add({**STEP, "state": "no time"})
    assert results.rows["step"]["state"] == "ok"
    results.add({**MACHINE, "python": "3.13"})
    assert "Python 3.13" in (tmp_path / "table.md").read_text()
    with pytest.raises(SystemExit, match="rows of A card .jax., and this is Another"):
        results.add({**MACHINE, "card": "Another"})


@pytest.fixture
def measured(gpu, tmp_path, monkeypatch):
    """Runs a small measurement in this process; what it reports."""
    import importlib

    from gpu_measures import child

    monkeypatch.setenv("GPU_ROW", str(tmp_path / "row.jsonl"))
    monkeypatch.setenv("GPU_SCRATCH", str(tmp_path))

    def measured(kind, **arguments):
        values = {}
        monkeypatch.setattr(child, "report", lambda **reported: values.update(reported))
        importlib.import_module(f"gpu_measures.{kind}").measure(**arguments, tiny=True)
        return values

    return measured


def test_each_kind_of_measurement_runs(measured):
    assert measured("machine")["peak_flops"].keys() == {"float32", "mixed_bfloat16", "mixed_float16"}
    half = {"recipe": "classify", "precision": "mixed_float16"}
    row = measured("steps", **half)
    assert row["images_per_second"] > 0 and row["flops"] > 0 and row["not_finite"] == []
    assert len(row["loss_scales"]) == 4
    row = measured("largest", **half)
    assert list(row["images_per_second"]) == list(row["peak_bytes"]) == [2, 4]
    row = measured("feeding", **half)
    assert row["fed_step_seconds"] > 0 and min(row["images_per_second"].values()) > 0
    row = measured("trainings", **half, data=None, seed=0)
    assert 0 <= row["score"] <= 1 and row["epochs"] == 1 and row["not_finite"] == []


def test_a_machine_without_a_gpu_is_an_error(gpu, monkeypatch):
    from gpu_measures import machine

    monkeypatch.setattr(machine.child, "report", lambda **_: None)
    monkeypatch.setattr(machine, "card", lambda: f"{machine.CPU} (a processor)")
    with pytest.raises(RuntimeError, match="no GPU"):
        machine.measure(tiny=False)


@pytest.mark.parametrize(("fits", "sizes", "failed"), [(200, [64, 128], 256), (50, [32], 64), (300, [64, 256], 512)])
def test_where_memory_ends_is_found_by_halves(gpu, monkeypatch, fits, sizes, failed):
    from gpu_measures import largest

    lost = []

    def stepper(*_):
        ours = len(lost)  # a model, which the failure of a step destroys

        def seconds_of(size):
            assert ours == len(lost), "the model is that of the step that failed"
            if size > fits:
                lost.append(size)
                raise MemoryError
            return 1.0, []

        return seconds_of

    monkeypatch.setattr(largest, "stepper", stepper)
    monkeypatch.setattr(largest.network, "recipe_of", lambda *_: None)
    values = {}
    monkeypatch.setattr(largest.child, "report", lambda **reported: values.update(reported))
    largest.measure("classify", "float32", False)
    assert sorted(values["images_per_second"]) == sizes
    assert values["out_of_memory"] == failed
