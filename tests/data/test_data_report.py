"""A report's two levels, its counts and its text, alone and joined with another's."""

import pickle

from visiontasks.data.report import Note, Report


def both():
    report = Report()
    report.skipped("truncated JPEG, skipped", "a.jpg")
    report.noted("percent-encoded file name", "b%20.jpg")
    return report


def test_what_is_skipped_and_what_is_noted_are_told_apart():
    report = both()
    assert report.items() == [
        ("truncated JPEG, skipped", ["a.jpg"], True),
        ("percent-encoded file name", ["b%20.jpg"], False),
    ]
    assert str(report) == "1 × truncated JPEG, skipped: a.jpg\n1 × percent-encoded file name: b%20.jpg"
    assert report.whole() == "1 × truncated JPEG, skipped:\n  a.jpg\n1 × percent-encoded file name:\n  b%20.jpg"


def test_a_name_counts_once_and_a_line_shows_the_first():
    report = Report()
    assert not report and not str(report) and report.count("skipped") == 0
    for _ in range(2):
        for number in range(7):
            report.skipped("skipped", str(number))
    assert report and report.count("skipped") == 7
    assert str(report) == "7 × skipped: 0, 1, 2, 3, 4, …"


def test_the_notes_of_a_worker_keep_their_level():
    worker, report = both(), Report()
    for note in pickle.loads(pickle.dumps(worker.fresh())):
        report.add(note)
    assert report.items() == both().items() and not worker.fresh()
    worker.skipped("truncated JPEG, skipped", "a.jpg")
    worker.skipped("truncated JPEG, skipped", "c.jpg")
    assert worker.fresh() == [Note("truncated JPEG, skipped", "c.jpg", True)]


def test_joined_reports_are_one():
    one, other = both(), both()
    one.join(other)
    other.skipped("truncated JPEG, skipped", "c.jpg")
    one.noted("percent-encoded file name", "d%20.jpg")
    assert one.items() == other.items() and [len(names) for _, names, _ in one.items()] == [2, 2]
    assert one.fresh() and not other.fresh()
