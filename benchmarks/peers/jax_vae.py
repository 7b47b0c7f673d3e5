"""The network of the grey-mnist recipe in JAX: an epoch is one compiled program, a scan over its batches; optax's Adam.

The rows that don't fill the last batch are left out, since a scan's steps are of one shape. The first epoch compiles.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import BATCH_SIZE, LEARNING_RATE, Epochs, task
from jax import Array
from measured import tell

SIZES = {"fc1": (784, 400), "fc21": (400, 20), "fc22": (400, 20), "fc3": (20, 400), "fc4": (400, 784)}

Parameters = dict[str, tuple[Array, Array]]


def initial(seed: int) -> Parameters:
    """Weights and biases drawn as torch's linear layers draw theirs."""
    rng = np.random.default_rng(seed)
    drawn = {}
    for name, (n, m) in SIZES.items():
        weight, bias = (jnp.asarray(rng.uniform(-1, 1, shape) / n**0.5, jnp.float32) for shape in ((n, m), (m,)))
        drawn[name] = weight, bias
    return drawn


def loss(parameters: Parameters, x: Array, key: Array) -> Array:
    """The negative ELBO of x (B, 784), nats per datum."""

    def linear(name: str, values: Array) -> Array:
        weight, bias = parameters[name]
        return values @ weight + bias

    h = jax.nn.relu(linear("fc1", x))
    mean, log_variance = linear("fc21", h), linear("fc22", h)
    z = mean + jax.random.normal(key, mean.shape) * jnp.exp(0.5 * log_variance)
    logits = linear("fc4", jax.nn.relu(linear("fc3", z)))
    bce = optax.sigmoid_binary_cross_entropy(logits, x).sum()
    kl = -0.5 * (1 + log_variance - mean**2 - jnp.exp(log_variance)).sum()
    return (bce + kl) / len(x)


if __name__ == "__main__":
    given, clock = task(), Epochs()
    optimizer = optax.adam(LEARNING_RATE)
    parameters = initial(given.seed)
    state, key = optimizer.init(parameters), jax.random.key(given.seed)
    rows, test = jnp.asarray(given.floats("train")), jnp.asarray(given.floats("test"))

    @jax.jit
    def epoch(parameters: Parameters, state: optax.OptState, key: Array) -> tuple[Parameters, optax.OptState, Array]:
        shuffle, noise = jax.random.split(key)
        steps = len(rows) // BATCH_SIZE
        order = jax.random.permutation(shuffle, len(rows))[: steps * BATCH_SIZE].reshape(steps, BATCH_SIZE)

        def step(
            carry: tuple[Parameters, optax.OptState], given: tuple[Array, Array]
        ) -> tuple[tuple[Parameters, optax.OptState], Array]:
            parameters, state = carry
            index, key = given
            value, gradients = jax.value_and_grad(loss)(parameters, rows[index], key)
            updates, state = optimizer.update(gradients, state)
            return (optax.apply_updates(parameters, updates), state), value

        (parameters, state), losses = jax.lax.scan(step, (parameters, state), (order, jax.random.split(noise, steps)))
        return parameters, state, losses.mean()

    for _ in range(given.epochs):
        key, own = jax.random.split(key)
        clock.start()
        parameters, state, value = jax.block_until_ready(epoch(parameters, state, own))
        clock.stop()
    tell(seconds=clock.seconds, test=[float(loss(parameters, test, key))])
