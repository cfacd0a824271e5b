"""torchvision under its own Python: what the parity tests compare with."""

import functools
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts/parity"
PYTHON = "/usr/bin/python3"  # Debian's, which its package python3-torchvision belongs to


@functools.cache
def torchvision_is_there():
    try:
        return subprocess.run([PYTHON, "-c", "import torchvision"], capture_output=True).returncode == 0
    except OSError:
        return False


def run(script, folder, name):
    """Let one of scripts/parity write FOLDER/NAME.pth and FOLDER/NAME.npz; skips where there is no torchvision."""
    if not torchvision_is_there():
        pytest.skip("needs Debian's python3-torchvision, which .ci/run installs")
    done = subprocess.run([PYTHON, SCRIPTS / script, folder, name], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
