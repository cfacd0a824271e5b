"""scripts/fuzz.py: broken inputs of every kind end in an error or are taken, and what is a fault is seen as one."""

import io
import json
import os
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from random import Random

import pytest
import yaml

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and reads /proc")

from fuzzing import data_sets, formats, inputs, mutations  # noqa: E402

FORMS = ("csv", "json", "xml", "txt", "images")


def fuzz(*words, cwd):
    """What the script prints, in a process of its own: it forks, which one with threads must not."""
    words = [sys.executable, SCRIPTS / "fuzz.py", *words]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=300)


def test_broken_data_and_recipes_end_in_an_error_or_are_taken(tmp_path):
    kinds = ",".join(("recipes", *FORMS))
    done = fuzz("120", "--seed", "11", "--kinds", kinds, "--without-keras", "--jobs", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for kind in ("recipes", *FORMS):
        count, accepted, refused = map(
            int, re.search(rf"\| {kind} \| (\d+) \| (\d+) \| (\d+) \|", done.stdout).groups()
        )
        assert count == accepted + refused == 20
    assert not (tmp_path / "fuzz_faults").exists()


# what stands for a command, and what is to be seen of it
FAULTS = {
    "traceback": lambda: 1 / 0,
    "crash": os.abort,
    "hang": lambda: time.sleep(60),
    "memory": lambda: len(b"x" * 2**29),
    "accepted": lambda: print("done"),
    "error": lambda: sys.exit(print("error: no such file", file=sys.stderr) or 2),
}
CHILD = """
import sys
sys.path[:0] = sys.argv[1:3]
from pathlib import Path
from fuzzing import trying
import test_scripts_fuzz as here
trying.PATIENCE, trying.MOST_BYTES = 2 if sys.argv[3] == "hang" else 60, 2**29
print(trying.Child(Path("."), here.FAULTS[sys.argv[3]]).outcome().what)
"""


@pytest.mark.parametrize("what", FAULTS)
def test_each_kind_of_end_is_seen(what, tmp_path):
    words = [sys.executable, "-c", CHILD, SCRIPTS, Path(__file__).parent, what]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.stdout.strip() == what, done.stderr


@pytest.mark.parametrize("kind", [kind for kind in inputs.KINDS if kind != "checkpoints"])
def test_an_input_is_a_function_of_seed_kind_and_number(kind, tmp_path):
    for name in ("one", "again", "other"):
        inputs.draw(kind, int(name == "other"), 3).write(tmp_path / name)
    one, again, other = (
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in ("one", "again", "other")
    )
    assert one == again and one.keys() == other.keys() and one != other


@pytest.mark.parametrize("form", ["json", "yaml", "csv", "rows", "xml", "bytes"])
def test_a_mutation_changes_most_files_and_keeps_most_of_their_forms(form):
    made = {"json": data_sets.jsons, "csv": data_sets.tables, "xml": data_sets.xmls}.get(form, data_sets.texts)
    files = [one.files[path] for one in made().values() for path, has in one.targets.items() if has == form]
    data = files[0] if files else b"\x89PNG" * 9
    changed = [formats.mutate(data, form, seed) for seed in range(100)]
    assert sum(one != data for one in changed) > 90 and len(set(changed)) > 60
    if form in ("json", "yaml"):
        parse = yaml.safe_load if form == "yaml" else json.loads
        assert sum(_parses(parse, one) for one in changed) > 50


def test_what_one_mutation_left_the_next_one_takes():
    """A whole number that no float holds; an archive with any byte changed."""
    number = 10**400
    found = [mutations.tree([number], Random(seed)) for seed in range(200)]
    assert [number + 1] in found and [number * 10**6] in found
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("config.json", json.dumps({"a": 1}))
        archive.writestr("weights.h5", b"abc")
    whole = packed.getvalue()
    for place in range(len(whole)):
        for bit in range(8):
            broken = whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :]
            assert isinstance(formats.mutate(broken, "zip", 8 * place + bit), bytes)


def _parses(parse, data):
    try:
        parse(data)
    except Exception:
        return False
    return True
