"""Settings that must stand before TensorFlow or albumentations are imported."""

import concurrent.futures
import gc
import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_FP16")  # as the commands do: see visiontasks/cli.py
# what XLA compiles here runs once or twice. test_without_tensorflow.py trains with XLA as a user has it
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")
if "PYTEST_XDIST_WORKER" in os.environ:  # the workers fill the cores: further threads would wait for each other
    for pool in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        os.environ.setdefault(pool, "1")
# two logical CPU devices would slow every test: the one that needs them starts a process of its own

import hypothesis
import pytest

# machines are noisy, and no test asserts a time
hypothesis.settings.register_profile("without times", deadline=None)
hypothesis.settings.load_profile("without times")


@pytest.fixture(autouse=True)
def _float32_afterwards():
    """A test that sets a dtype policy must not change the ones after it."""
    yield
    import sys

    if "keras" in sys.modules and hasattr(sys.modules["keras"], "config"):
        sys.modules["keras"].config.set_dtype_policy("float32")


@pytest.fixture
def without_weights():
    """Zeros, for tests of shapes and counts and of weights from a file: see `fakes.weights_of_zero`."""
    import fakes

    with fakes.weights_of_zero():
        yield


# the longest first, so that no worker ends with one of them alone
LONGEST = (
    "test_other_backends.py",
    "test_contracts_training.py",
    "test_contracts_precision.py",
    "test_contracts_recipes.py",
    "test_contracts_overfit.py",
    "test_training_devices.py",
)
# what the tests of such a file share is made for each value of a parameter
BY_PARAMETER = {"test_contracts_training.py": "family", "test_contracts_precision.py": "family"}


def pytest_addoption(parser):
    parser.addoption(
        "--exhaustive",
        action="store_true",
        help="run every combination of family, precision, backend and heads, not the covering array alone",
    )


ROW = ("family", "precision", "backend", "names")


def pytest_collection_finish(session):
    """Collect garbage less often, and not among what is imported: it took a sixth of the tests' time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


def pytest_generate_tests(metafunc):
    """A test that takes a row of a covering array gets those that cover the pairs which its module names."""
    if set(ROW) <= set(metafunc.fixturenames):
        import families

        found = families.rows(metafunc.module.COVERS, metafunc.config.getoption("exhaustive"))
        # all heads have too long a name
        ids = ["-".join((*row[:3], "+".join(row[3]) if len(row[3]) < 3 else f"{len(row[3])} heads")) for row in found]
        metafunc.parametrize(ROW, found, ids=ids)


@pytest.fixture(scope="module")
def apart():
    """Calls a function in another process, a new one after six: TensorFlow never gives back what its graphs take."""
    import forked

    if not forked.SAFE:  # whose graphs are few: test_other_backends.py started this process for them
        yield lambda function, *arguments: function(*arguments)
        return
    with concurrent.futures.ProcessPoolExecutor(1, forked.context(), max_tasks_per_child=6) as pool:
        yield lambda function, *arguments: pool.submit(function, *arguments).result()


@pytest.hookimpl(tryfirst=True)  # before xdist, which reads the groups in the same hook
def pytest_collection_modifyitems(items):
    """A worker takes a whole file, since its tests share what is slow to make; of the trainings, a whole family."""
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        shared = parameters.get(BY_PARAMETER.get(item.path.name))
        item.add_marker(pytest.mark.xdist_group(f"{item.path}:{shared}" if shared else str(item.path)))
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
