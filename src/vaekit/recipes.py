"""Recipes: whole runs by name, each TOML to read and edit, with its source. A paper is ten lines here, not a class."""

from __future__ import annotations

DIGITS = """
title = "VAE on scikit-learn's handwritten digits, each pixel a count of 0..16 dots"
source = "Kingma & Welling 2014; likelihood Binomial(16)"

[data]
name = "digits"

[model]
encoder = { name = "mlp", hidden = [256, 256], activation = "silu" }
decoder = { name = "mlp", hidden = [256, 256], activation = "silu" }
likelihood = "binomial"

[model.latents.z]
size = 16

[training]
epochs = 300
batch_size = 64
learning_rate = { name = "cosine", start = 1e-3, end = 1e-5 }
checkpoint_every = 10
"""

GREY_MNIST = """
title = "The PyTorch example VAE: MNIST's grey pixels scored as Bernoulli probabilities, which is no likelihood"
source = "Kingma & Welling 2014, as in the basic VAE example of PyTorch"

[data]
name = "mnist"
binarize = "grey"
validation = 0

[model]
encoder = { name = "mlp", hidden = [400], activation = "relu" }
decoder = { name = "mlp", hidden = [400], activation = "relu" }
likelihood = "bernoulli"

[model.latents.z]
size = 20

[training]
epochs = 10
batch_size = 128
learning_rate = 1e-3
seed = 2020
"""

IWAE_MNIST = """
title = "VAE of one layer on dynamically binarised MNIST, k = 1; for more set objective.name=iwae and objective.samples"
source = "Burda et al. 2016; learning rates 1e-3 to 1e-4 in eight stages of 3^i parts of the run; days on a CPU"

[data]
name = "mnist"
binarize = "stochastic"
validation = 0

[model]
encoder = { name = "mlp", hidden = [200, 200], activation = "tanh" }
decoder = { name = "mlp", hidden = [200, 200], activation = "tanh" }
likelihood = "bernoulli"

[model.latents.z]
size = 50

[objective]
name = "elbo"

[training]
epochs = 3280
batch_size = 20
learning_rate = { name = "geometric", start = 1e-3, end = 1e-4, stages = 8, base = 3.0 }
optimizer = { name = "adam", eps = 1e-4 }
checkpoint_every = 10
"""

RECIPES: dict[str, str] = {"digits": DIGITS, "grey-mnist": GREY_MNIST, "iwae-mnist": IWAE_MNIST}
