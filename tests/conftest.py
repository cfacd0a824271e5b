"""Settings that must stand before TensorFlow or albumentations are imported."""

import concurrent.futures
import multiprocessing
import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_FP16")  # as the commands do: see visiontasks/cli.py
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
LONGEST = (
    "test_other_backends.py",
    "test_contracts_training.py",
    "test_contracts_precision.py",
    "test_contracts_recipes.py",
    "test_contracts_overfit.py",
)
# what the tests of such a file share is made for each value of a parameter
BY_PARAMETER = {"test_contracts_training.py": "family", "test_contracts_precision.py": "family"}


@pytest.fixture(scope="module")
def apart():
    """Calls a function in a process that all calls with one key share: TensorFlow never gives back what graphs take.

    A call with another key ends the process before.
    """
    pools = {}

    def call(key, function, *arguments):
        if key not in pools:
            for pool in pools.values():
                pool.shutdown()
            pools.clear()
            pools[key] = concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        return pools[key].submit(function, *arguments).result()

    yield call
    for pool in pools.values():
        pool.shutdown()


@pytest.hookimpl(tryfirst=True)  # before xdist, which reads the groups in the same hook
def pytest_collection_modifyitems(items):
    """A worker takes a whole file, since its tests share what is slow to make; of the trainings, a whole family."""
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        shared = parameters.get(BY_PARAMETER.get(item.path.name))
        item.add_marker(pytest.mark.xdist_group(f"{item.path}:{shared}" if shared else str(item.path)))
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
