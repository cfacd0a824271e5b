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
