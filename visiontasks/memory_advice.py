"""Whether a training step fits into memory, and what to set if it does not."""

import contextlib

from visiontasks.errors import UserError

# times the free memory that a step is estimated to take, from which it is refused; an image took at least 0.4 times the
# estimate (visiontasks/training/estimate.py)
HOPELESS = 4


@contextlib.contextmanager
def advised(memory, batch, reporter, several, whole=True):
    """Say before training that a step may not fit, and of memory that is lacking which batch would fit.

    Of several devices, which share the batch, the memory is not compared.

    Args:
        memory: of a step, by `step_bytes`.
        batch: images per step.
        reporter: the Reporter.
        several: whether several devices share the batch.
        whole: whether the whole network trains; heads alone take less than the estimate, so no step is refused.

    Raises:
        UserError: a step cannot fit, or did not; with the batch that would.
    """
    from visiontasks.training import devices
    from visiontasks.training.estimate import fitting_batch

    room = None if several else devices.free_memory()
    needed = f"a step of {batch} images takes about {sum(memory.values()) / 2**20:,.0f} MiB"
    advice = "Set a smaller data.size or a smaller network."
    if room is None:
        smaller = "a smaller data.batch" if several else f"data.batch={batch // 2}"
        advice = f"Set {smaller}, or a smaller data.size." if batch > 1 else advice
    else:
        needed += f" and {room / 2**20:,.0f} MiB are free"
        if fits := fitting_batch(memory, batch, room):
            advice = f"Set data.batch={fits}, which fits by the estimate, or a smaller data.size."
    excess = sum(memory.values()) / room if room else 0
    if whole and excess > HOPELESS:  # some backends crash instead of raising
        raise UserError(f"{needed}. {advice}", "data.batch")
    if excess > 1:
        reporter.line(f"warning: {needed}: the system may end this process. {advice}")
    try:
        yield
    except Exception as error:
        if not (text := out_of_memory(error)):
            raise
        raise UserError(f"out of memory ({text}): {needed}. {advice}") from error


def out_of_memory(error: BaseException) -> str:
    """What an error says of memory that is lacking; "" if it is another error."""
    text = _line_of(error)
    # of NumPy, TensorFlow and PyTorch's GPUs by type; JAX, OpenCV and PyTorch's CPU have one type for all errors
    names = {kind.__name__ for kind in type(error).__mro__}
    lacking = any(word in text for word in ("RESOURCE_EXHAUSTED", "Insufficient memory", "you tried to allocate"))
    return text if lacking or names & {"MemoryError", "ResourceExhaustedError", "OutOfMemoryError"} else ""


def _line_of(error):
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return next((line for line in lines if "alloc" in line.lower()), lines[0])  # TensorFlow's comes after a call stack
