"""metrics.csv, learning_rate.csv and curves.png of a training."""

import csv
import io
import types

import blocks
import pytest
from rich.console import Console

from visiontasks.drawing import charts
from visiontasks.errors import UserError
from visiontasks.training import metrics_log
from visiontasks.training.metrics_log import RATES, CsvLog, MetricsLog
from visiontasks.training.run_directory import RunDirectory
from visiontasks.writing import replace_atomically


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, strict=True))


def test_the_first_row_fixes_the_columns(tmp_path):
    log = CsvLog(tmp_path / "x.csv")
    log.add({"epoch": 1, "loss": 0.5, "val_loss": float("nan")})
    log.add({"loss": 0.25, "epoch": 2, "new": 7}, {"epoch": 3, "val_loss": 1.0})
    assert (tmp_path / "x.csv").read_bytes() == b"epoch,loss,val_loss\r\n1,0.5,\r\n2,0.25,\r\n3,,1.0\r\n"
    assert log.table()["epoch"].tolist() == [1, 2, 3] and log.table()["val_loss"][2] == 1


def test_a_log_that_begins_again_is_not_lost_where_it_cannot_be_written(tmp_path, monkeypatch):
    log, path = CsvLog(tmp_path / "x.csv"), tmp_path / "x.csv"
    log.add({"epoch": 1}, {"epoch": 2})
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr("os.replace", fail)
        with pytest.raises(UserError, match="No space left"):
            log.replace([{"epoch": 1}])
    assert path.read_bytes() == before
    log.replace([{"epoch": 1}])
    assert rows(path) == [{"epoch": "1"}]
    log.replace([])
    assert not path.exists() and log.rows == []


def made(tmp_path):
    console = Console(file=io.StringIO(), soft_wrap=True)  # as the commands have it: a long path stays on its line
    tasks = {"head": types.SimpleNamespace(main_metric="top1")}
    return MetricsLog(RunDirectory(tmp_path), tasks, console, blocks.position(120)), console


def train(log, stages, interrupted=0):
    for epochs in stages:
        begin = log.position.epoch
        log.begin_stage(lambda step: 1 / (1 + step), begin)
        for epoch in range(begin, begin + epochs):
            log.on_epoch_begin(epoch)
            last = epoch + 1 == sum(stages) and interrupted
            log.position.step = interrupted if last else 120
            scores = {"val_score": float("nan")} if last else {"val_loss": 2.0, "val_score": 0.5, "val_top1": 0.5}
            log.on_epoch_end(epoch, {"loss": 1.0, **scores})
            log.position.next_epoch()


def test_epochs_and_rates_count_the_steps_of_all_stages(tmp_path):
    log, _ = made(tmp_path)
    train(log, stages=(1, 2), interrupted=3)
    epochs, rates = rows(tmp_path / "metrics.csv"), rows(tmp_path / "learning_rate.csv")
    assert [row["step"] for row in epochs] == ["120", "240", "243"]
    assert [row["val_loss"] for row in epochs] == ["2.0", "2.0", ""]
    assert len(rates) == 2 * RATES + 3
    rate = {int(row["step"]): float(row["learning_rate"]) for row in rates}
    assert list(rate) == sorted(rate)
    # the second stage begins its schedule anew
    assert rate[1] == rate[121] == 1 and rate[120] == 1 / 120 and rate[243] == 1 / 123


@pytest.mark.parametrize("error", [RuntimeError("no font"), OSError(28, "No space left on device")])
def test_curves_that_cannot_be_drawn_are_one_warning(error, tmp_path, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr(charts, "training_figure", fail)
    monkeypatch.setattr(metrics_log, "DRAW_SECONDS", -1)  # at the end of the epoch too
    log, console = made(tmp_path)
    train(log, stages=(2,))
    log.draw()
    printed = console.file.getvalue()
    assert printed.count("warning: ") == 1 and "curves.png" in printed and str(error) in printed
    assert len(rows(tmp_path / "metrics.csv")) == 2


def test_a_full_disk_is_one_error_and_keeps_the_old_file(tmp_path, monkeypatch):
    def fill(path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    path = tmp_path / "last.keras"
    path.write_bytes(b"before")
    with pytest.raises(UserError, match=r"^dir: cannot write .*last\.keras: No space left"):
        replace_atomically(path, fill, "dir")
    assert [p.name for p in tmp_path.iterdir()] == ["last.keras"] and path.read_bytes() == b"before"
    monkeypatch.setattr("os.replace", fill)
    with pytest.raises(UserError, match=r"^dir: cannot write .*none.*x\.csv"):
        CsvLog(tmp_path / "none" / "x.csv").add({"epoch": 1})
