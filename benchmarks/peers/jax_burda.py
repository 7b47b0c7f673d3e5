"""784-200-200-50 on dynamic MNIST in JAX: STL's gradient, optax's Muon; what `quality.py` asks of it.

An epoch is one compiled program, a scan over its batches, without the rows that fill none. Of `--epochs` those of
`--at` are scored, which stops the clock; each prints a line of JSON. With `--pace` the seconds of a few epochs alone.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from functools import partial
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

Layers = list[dict[str, Array]]
ENCODER, DECODER = (784, 200, 200, 100), (50, 200, 200, 784)


def initial(sizes: tuple[int, ...], rng: np.random.Generator) -> Layers:
    """Weights and biases drawn as torch's linear layers draw theirs."""

    def drawn(n: int, shape: tuple[int, ...]) -> Array:
        return jnp.asarray(rng.uniform(-1, 1, shape) / n**0.5, jnp.float32)

    return [{"w": drawn(n, (n, m)), "b": drawn(n, (m,))} for n, m in pairwise(sizes)]


def through(layers: Layers, x: Array) -> Array:
    for layer in layers[:-1]:
        x = jnp.tanh(x @ layer["w"] + layer["b"])
    return x @ layers[-1]["w"] + layers[-1]["b"]


def log_ratio(weights: tuple[Layers, Layers], x: Array, key: Array, draws: int, own: bool) -> Array:
    """log p(x, z) - log q(z | x) of draws (K, B); with `own` the density of q has its gradient."""
    mean, log_variance = jnp.split(through(weights[0], x), 2, -1)
    noise = jax.random.normal(key, (draws, *mean.shape))
    z = mean + noise * jnp.exp(0.5 * log_variance)
    if not own:
        mean, log_variance = jax.lax.stop_gradient((mean, log_variance))
    log_q = -0.5 * ((z - mean) ** 2 * jnp.exp(-log_variance) + log_variance).sum(-1)
    likelihood = -optax.sigmoid_binary_cross_entropy(through(weights[1], z), x).sum(-1)
    return likelihood - 0.5 * (z**2).sum(-1) - log_q


@partial(jax.jit, static_argnums=3)
def nll(weights: tuple[Layers, Layers], x: Array, key: Array, draws: int) -> Array:
    ratio = log_ratio(weights, x, key, draws, own=True)
    return math.log(draws) - jax.nn.logsumexp(ratio, axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help=".npz: grey (N, 784) in [0, 1], test (M, 784) of bits")
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--pace", type=int, default=0)
    parser.add_argument("--at", type=int, nargs="*", default=[])
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--rate", type=float, nargs=2, default=(1e-2, 1e-5), help="a cosine from the one to the other")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with np.load(given.data) as file:
        grey, test = jnp.asarray(file["grey"]), jnp.asarray(file["test"])
    steps, rng, key = len(grey) // given.batch, np.random.default_rng(given.seed), jax.random.key(given.seed)
    rate = optax.cosine_decay_schedule(given.rate[0], given.epochs * steps, given.rate[1] / given.rate[0])
    optimizer = optax.contrib.muon(rate, adam_b1=0.9, adam_b2=0.999, consistent_rms=0.2)
    weights = initial(ENCODER, rng), initial(DECODER, rng)
    state = optimizer.init(weights)

    def loss(weights: tuple[Layers, Layers], x: Array, key: Array) -> Array:
        return -log_ratio(weights, x, key, 1, own=False).mean()

    @partial(jax.jit, donate_argnums=(0, 1))
    def epoch(weights, state, key):  # type: ignore[no-untyped-def]
        shuffle, own = jax.random.split(key)
        order = jax.random.permutation(shuffle, len(grey))[: steps * given.batch].reshape(steps, given.batch)

        def step(carry, given):  # type: ignore[no-untyped-def]
            (weights, state), (index, key) = carry, given
            bits, noise = jax.random.split(key)
            x = jax.random.bernoulli(bits, grey[index]).astype(jnp.float32)
            updates, state = optimizer.update(jax.grad(loss)(weights, x, noise), state, weights)
            return (optax.apply_updates(weights, updates), state), None

        return jax.lax.scan(step, (weights, state), (order, jax.random.split(own, steps)))[0]

    seconds = []
    for number in range(1, (given.pace or given.epochs) + 1):
        key, own, scored = jax.random.split(key, 3)
        started = time.perf_counter()
        weights, state = jax.block_until_ready(epoch(weights, state, own))
        seconds.append(time.perf_counter() - started)
        if number in given.at:
            parts = [nll(weights, x, scored, given.samples) for x in jnp.split(test, max(1, len(test) // 100))]
            found = np.concatenate([np.asarray(part, np.float64) for part in parts])
            told = {"epoch": number, "epochs": given.epochs, "seconds": sum(seconds), "nll": found.mean()}
            told |= {"stderr": found.std(ddof=1) / len(found) ** 0.5, "rows": len(found), "samples": given.samples}
            print(json.dumps(told), flush=True)
    if given.pace:
        print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    main()
