"""Checks the records of TensorBoard's files, without TensorFlow."""

from pathlib import Path


def count_records(path: Path) -> tuple[int, bool]:
    """(records whose checksums are right, whether another one is cut off at the end, as a kill leaves it).

    Raises:
        ImportError: tensorboard is not installed.
        ValueError: a checksum does not match.
    """
    # tensorboard's own reader for machines without TensorFlow, which it has no public name for
    from tensorboard.compat.tensorflow_stub import errors, pywrap_tensorflow

    count, reader = 0, pywrap_tensorflow.PyRecordReader_New(str(path))
    while True:
        try:
            reader.GetNext()
        except errors.OutOfRangeError:
            return count, False
        except errors.DataLossError as error:
            if "Truncated" in str(error) or "truncated" in str(error):
                return count, True
            raise ValueError(f"the checksum of record {count + 1} does not match") from error
        count += 1
