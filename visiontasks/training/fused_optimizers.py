"""Keras's Adam, AdamW and SGD, whose step is one TensorFlow operation for each variable.

Keras's own step is about twenty operations a variable, weight decay and its learning rate included. On a CPU TensorFlow
takes seconds to trace and optimize them before the first step, and runs them in several passes over the weights. State
and results are Keras's. Inside a tf.distribute strategy, and on other backends, the step is Keras's generic one.
"""

import keras
from keras import backend, ops


def _fits(variables, gradients=()) -> bool:
    """Whether TensorFlow's operations apply: float32 variables on one device, with dense gradients."""
    if backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return (
        not tf.distribute.has_strategy()
        and all(isinstance(v, keras.Variable) and v.dtype == "float32" for v in variables)
        and all(isinstance(g, tf.Tensor) for g in gradients)
    )


class _OneOperation:
    """A base class, before a Keras optimizer's, that calls `_update(variables, gradients, rate)` where that fits."""

    # Both are private in Keras: its seams for backends, called once a step. Should they be renamed, Keras's code runs.
    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        if self._has_operation and _fits(trainable_variables, grads):
            gradients = [ops.cast(gradient, "float32") for gradient in grads]
            self._update(trainable_variables, gradients, ops.cast(learning_rate, "float32"))
        else:
            super()._backend_update_step(grads, trainable_variables, learning_rate)

    def _apply_weight_decay(self, variables):
        if self.weight_decay is None or not _fits(variables):
            super()._apply_weight_decay(variables)
            return
        # Keras asks the schedule for the learning rate once for every variable
        rate = ops.cast(self.learning_rate, "float32") * self.weight_decay
        for variable in variables:
            if self._use_weight_decay(variable):
                variable.value.assign_sub(variable.value * rate)


class _FusedAdam(_OneOperation):
    @property
    def _has_operation(self):
        return not self.amsgrad

    def _update(self, variables, gradients, rate):
        from tensorflow import raw_ops

        step = ops.cast(self.iterations + 1, "float32")
        powers = {"beta1_power": ops.power(self.beta_1, step), "beta2_power": ops.power(self.beta_2, step)}
        constants = {"lr": rate, "beta1": self.beta_1, "beta2": self.beta_2, "epsilon": self.epsilon}
        for variable, gradient in zip(variables, gradients, strict=True):
            index = self._get_variable_index(variable)
            state = {"m": self._momentums[index].value.handle, "v": self._velocities[index].value.handle}
            raw_ops.ResourceApplyAdam(var=variable.value.handle, grad=gradient, **state, **powers, **constants)


@keras.saving.register_keras_serializable(package="visiontasks")
class Adam(_FusedAdam, keras.optimizers.Adam):
    """keras.optimizers.Adam: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980, section 2."""


@keras.saving.register_keras_serializable(package="visiontasks")
class AdamW(_FusedAdam, keras.optimizers.AdamW):
    """keras.optimizers.AdamW: Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101."""


@keras.saving.register_keras_serializable(package="visiontasks")
class SGD(_OneOperation, keras.optimizers.SGD):
    """keras.optimizers.SGD, plain, with momentum, or with Nesterov's."""

    _has_operation = True

    def _update(self, variables, gradients, rate):
        from tensorflow import raw_ops

        for variable, gradient in zip(variables, gradients, strict=True):
            handle = variable.value.handle
            if self.momentum:
                momentum = self.momentums[self._get_variable_index(variable)].value.handle
                raw_ops.ResourceApplyKerasMomentum(
                    var=handle,
                    accum=momentum,
                    lr=rate,
                    grad=gradient,
                    momentum=self.momentum,
                    use_nesterov=self.nesterov,
                )
            else:
                raw_ops.ResourceApplyGradientDescent(var=handle, alpha=rate, delta=gradient)
