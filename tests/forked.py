"""Processes that have nothing to import: forked from one that has imported Keras and did nothing else.

To import TensorFlow takes longer than most of what a test does with it in a process of its own. It runs no operation
and starts no thread at import, so that what is forked then is as fresh as what Python has just started. Where that is
what a test is about, it starts Python: what a command prints before and while it imports, and in which order.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

import keras

# the package's own modules are imported anew in each
IMPORTED = ["keras", "albumentations"]
# JAX warns of a fork, and of a process of its own the tests for JAX have no need: they are in one
SAFE = keras.backend.backend() == "tensorflow" and "forkserver" in multiprocessing.get_all_start_methods()


def context():
    """What `multiprocessing` makes such processes with."""
    made = multiprocessing.get_context("forkserver" if SAFE else "spawn")
    if SAFE:
        made.set_forkserver_preload(IMPORTED)
    return made


def python(*words, cwd=None, timeout=600):
    """What `subprocess.run` gives for Python with these words: `-m`, a module and its arguments, or `-c` and a code."""
    if not SAFE:
        return subprocess.run([sys.executable, *words], cwd=cwd, capture_output=True, text=True, timeout=timeout)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("out", "err")]
        process = context().Process(target=_run, args=(words, cwd or os.getcwd(), files))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(words, timeout)
        return subprocess.CompletedProcess(words, process.exitcode, *(file.read_text("utf-8") for file in files))


def _run(words, cwd, files):
    """Be `python words`, started in a folder, with the standard streams written to files."""
    os.chdir(cwd)
    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    kind, what, *arguments = words
    sys.argv[:], sys.path[0] = [kind, *arguments], str(cwd)
    if kind == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
