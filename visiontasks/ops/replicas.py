"""Sums and maxima over the replicas of tf.distribute, each of which sees its share of a batch. TensorFlow's alone.

On JAX and PyTorch, and on one device, a batch is whole: there is one replica, and what it computes is the batch's.
"""

from keras import backend, ops


def _context():
    """The replica that this code runs in; None where a batch is whole."""
    if backend.backend() != "tensorflow":
        return None
    from tensorflow import distribute

    context = distribute.get_replica_context()  # None within a strategy's scope, outside of its run
    return context if context is not None and context.num_replicas_in_sync > 1 else None


def number() -> int:
    """How many replicas share the batch. Their gradients are added up."""
    context = _context()
    return 1 if context is None else context.num_replicas_in_sync


def summed(x):
    """The sum of a tensor over the replicas, the same on each of them.

    Its gradient is the sum of the replicas' gradients: a loss that every replica computes from it must be divided by
    `number()`.
    """
    context = _context()
    if context is None:
        return x
    from tensorflow import distribute

    return context.all_reduce(distribute.ReduceOp.SUM, x)


def largest(x):
    """The elementwise maximum of a tensor over the replicas, the same on each of them. It has no gradient."""
    context = _context()
    return x if context is None else ops.max(context.all_gather(ops.stop_gradient(x)[None], axis=0), axis=0)
