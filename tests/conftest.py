"""Settings that must stand before TensorFlow or albumentations are imported."""

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# two logical CPU devices would slow every test: the one that needs them starts a process of its own

import pytest


@pytest.fixture(autouse=True)
def _float32_afterwards():
    """A test that sets a dtype policy must not change the ones after it."""
    yield
    import sys

    if "keras" in sys.modules and hasattr(sys.modules["keras"], "config"):
        sys.modules["keras"].config.set_dtype_policy("float32")


# the longest first, so that no worker ends with one of them alone
LONGEST = ("test_other_backends.py", "test_contracts_training.py", "test_contracts_xla.py")


def pytest_collection_modifyitems(items):
    """A worker takes a whole file, since its tests share what is slow to make; of the trainings, a whole family."""
    for item in items:
        family = getattr(item, "callspec", None) and item.callspec.params.get("family")
        shared = f"{item.path.name}:{family}" if family and item.path.name in LONGEST else str(item.path)
        item.add_marker(pytest.mark.xdist_group(shared))
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
