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

[pictures]
every_epoch = [{ name = "reconstructions", n = 8 }, { name = "samples", n = 64 }]
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

BINARY_MNIST_DIAGONAL = """
title = "VAE on statically binarised MNIST, with separate towers for mean and scale of q(z given x)"
source = "Kingma & Welling 2014; data of Salakhutdinov & Murray 2008, split by Larochelle & Murray 2011"

[data]
name = "binary-mnist"
binarize = "static"

[model]
encoder = { name = "mlp", hidden = [500], activation = "tanh" }
decoder = { name = "mlp", hidden = [200, 500], activation = "tanh" }
likelihood = "bernoulli"

[model.latents.z]
size = 200
posterior = { name = "diagonal-normal", hidden = [200], activation = "tanh" }

[training]
epochs = 20
batch_size = 200
learning_rate = 3e-4

[pictures]
report = [{ name = "samples", n = 10 }, "reconstruct-one", "correlations"]
"""

BINARY_MNIST_FULL_RANK = """
title = "binary-mnist-diagonal with a full covariance in q(z given x), to compare"
source = "Kingma & Welling 2019, section 2.5.1; data of Salakhutdinov & Murray 2008, split by Larochelle & Murray 2011"

[data]
name = "binary-mnist"
binarize = "static"

[model]
encoder = { name = "mlp", hidden = [500], activation = "tanh" }
decoder = { name = "mlp", hidden = [200, 500], activation = "tanh" }
likelihood = "bernoulli"

[model.latents.z]
size = 200
posterior = { name = "full-rank-normal", hidden = [200], activation = "tanh" }

[training]
epochs = 20
batch_size = 200
learning_rate = 3e-4

[pictures]
report = [{ name = "samples", n = 10 }, "reconstruct-one", "correlations"]
"""

GREY_MNIST_SIGMOID_ADAGRAD = """
title = "grey-mnist with sigmoid layers and Adagrad, to compare how they converge; no likelihood either"
source = "Kingma & Welling 2014, section 5: Adagrad, its rate one of 0.01 (as here), 0.02 and 0.1"

[data]
name = "mnist"
binarize = "grey"
validation = 0

[model]
encoder = { name = "mlp", hidden = [400], activation = "sigmoid" }
decoder = { name = "mlp", hidden = [400], activation = "sigmoid" }
likelihood = "bernoulli"

[model.latents.z]
size = 20

[training]
epochs = 10
batch_size = 128
optimizer = "adagrad"
learning_rate = 0.01
seed = 2020

[pictures]
every_epoch = [{ name = "reconstructions", n = 8 }, { name = "samples", n = 64 }]
"""

SOFTPLUS_MNIST = """
title = "VAE of softplus layers and 50 latents: MNIST's grey pixels as Bernoulli probabilities, which is no likelihood"
source = "Kingma & Welling 2014, as in the VAE tutorial of Pyro (Bingham et al. 2019)"

[data]
name = "mnist"
binarize = "grey"
validation = 0

[model]
encoder = { name = "mlp", hidden = [400], activation = "softplus" }
decoder = { name = "mlp", hidden = [400], activation = "softplus" }
likelihood = "bernoulli"

[model.latents.z]
size = 50

[training]
epochs = 100
batch_size = 128
learning_rate = 1e-3
checkpoint_every = 10

[pictures]
report = ["reconstruct-one", { name = "latents", n = 10000 }]
"""

ELU_MNIST = """
title = "VAE of ELU layers: MNIST's pixels drawn once, each with its grey value as its probability"
source = "Kingma & Welling 2014; ELU: Clevert et al. 2016"

[data]
name = "mnist"
binarize = "static"
train = 50000
validation = 500
test = 500

[model]
encoder = { name = "mlp", hidden = [256, 256], activation = "elu" }
decoder = { name = "mlp", hidden = [256, 256], activation = "elu" }
likelihood = "bernoulli"

[model.latents.z]
size = 64
posterior = { name = "diagonal-normal", log_variance_clamp = [-10.0, 10.0] }

[training]
epochs = 10
batch_size = 64
learning_rate = 1e-3
mean_pass = true

[pictures]
report = [{ name = "data", n = 100 }, "untrained-samples", { name = "reconstructions", n = 50 }]
"""

CONDITIONAL_MNIST = """
title = "Conditional beta-VAE, the label joined to z: MNIST's grey pixels as Bernoulli probabilities, no likelihood"
source = "Sohn et al. 2015, without the label at the encoder; beta: Higgins et al. 2017"

[data]
name = "mnist"
binarize = "grey"
validation = 0

[model]
condition = "decoder"
encoder = { name = "mlp", hidden = [400], activation = "relu" }
decoder = { name = "mlp", hidden = [400], activation = "relu" }
likelihood = "bernoulli"

[model.latents.z]
size = 20

[objective]
name = "elbo"
beta = 10.0

[training]
epochs = 15
batch_size = 128
learning_rate = 1e-3

[pictures]
report = ["pairs", "conditional-grid"]
"""

BETA_MNIST = """
title = "beta-VAE (plain with objective.beta=1): MNIST's grey pixels as Bernoulli probabilities, no likelihood"
source = "Higgins et al. 2017"

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

[objective]
name = "elbo"
beta = 10.0

[training]
epochs = 15
batch_size = 128
learning_rate = 1e-3

[pictures]
report = ["pairs"]
"""

GUMBEL_MNIST = """
title = "A category by Gumbel-softmax beside a Gaussian latent: MNIST's grey pixels as Bernoulli, no likelihood"
source = "Jang et al. 2017; Maddison et al. 2017"

[data]
name = "mnist"
binarize = "grey"
validation = 0

[model]
encoder = { name = "mlp", hidden = [400], activation = "relu" }
decoder = { name = "mlp", hidden = [400], activation = "relu" }
likelihood = "bernoulli"

[model.latents.c]
size = 10
posterior = { name = "relaxed-categorical", temperature = { name = "cosine", start = 1.0, end = 0.5 } }
prior = "uniform-categorical"

[model.latents.z]
size = 2

[training]
epochs = 15
batch_size = 128
learning_rate = 1e-3

[pictures]
report = ["pairs", "cluster-grid"]
"""

CLUSTER_MNIST = """
title = "Clusters without labels: nearly an autoencoder, then a mixture prior fitted to its codes; no likelihood"
source = "Jiang et al. 2017 (VaDE); clusters that survive small changes of the image: Ji et al. 2019"

[data]
name = "mnist"
binarize = "grey"
validation = 0

[model]
encoder = { name = "mlp", hidden = [500, 250], activation = "relu" }
decoder = { name = "mlp", hidden = [250, 500], activation = "relu" }
likelihood = "bernoulli"

[model.latents.z]
size = 10
prior = { name = "mixture", components = 30, fit_after = [0.5, 0.58], fit_components = [30, 10] }

[objective]
name = "invariant-clusters"
invariance = { name = "switch", start = 0.0, end = 150.0, at = 0.5 }
beta = { name = "switch", start = 1e-3, end = 1.0, at = 0.5 }

[training]
epochs = 50
batch_size = 128
learning_rate = { name = "cosine", start = 1e-3, end = 1e-5 }

[pictures]
report = ["cluster-grid", { name = "cluster-grid", show = "data" }]
"""

M1 = """
title = "M1: a VAE, then a classifier on its codes; MNIST's grey pixels as Bernoulli probabilities, no likelihood"
source = "Kingma et al. 2014; a support vector machine on the codes of the rows whose labels are seen"

[data]
name = "mnist"
binarize = "grey"
validation = 0
labels = 100

[model]
encoder = { name = "mlp", hidden = [600, 600], activation = "softplus" }
decoder = { name = "mlp", hidden = [600, 600], activation = "softplus" }
likelihood = "bernoulli"

[model.latents.z]
size = 50

[training]
epochs = 40
batch_size = 128
learning_rate = { name = "cosine", start = 1e-3, end = 1e-5 }
"""

M2 = """
title = "M2: the label is a latent that is sometimes seen; binarised MNIST"
source = "Kingma et al. 2014"

[data]
name = "mnist"
binarize = "stochastic"
validation = 0
labels = 100

[model]
classifier = { name = "mlp", hidden = [500], activation = "softplus" }
encoder = { name = "mlp", hidden = [500], activation = "softplus" }
decoder = { name = "mlp", hidden = [500], activation = "softplus" }
likelihood = "bernoulli"

[model.latents.z]
size = 50

[objective]
name = "semi-supervised"
classification = 60.0

[training]
epochs = 100
batch_size = 200
labelled = 100
learning_rate = 3e-4

[pictures]
report = ["conditional-grid"]
"""

M1_M2 = """
title = "M1 + M2: M2 on the codes of M1, drawn afresh each time they are shown; the scores are those of the codes"
source = "Kingma et al. 2014"

[data]
name = "mnist"
validation = 0
labels = 100
codes = "m1"

[model]
classifier = { name = "mlp", hidden = [500], activation = "softplus" }
encoder = { name = "mlp", hidden = [500], activation = "softplus" }
decoder = { name = "mlp", hidden = [500], activation = "softplus" }
likelihood = "normal"

[model.latents.z]
size = 50

[objective]
name = "semi-supervised"
classification = 60.0

[training]
epochs = 40
batch_size = 200
labelled = 100
learning_rate = { name = "cosine", start = 1e-3, end = 1e-5 }
"""

ADGM = """
title = "ADGM: M2 with an auxiliary latent, which makes its posteriors mixtures; binarised MNIST"
source = "Maaløe et al. 2016"

[data]
name = "mnist"
binarize = "stochastic"
validation = 0
labels = 100

[model]
classifier = { name = "mlp", hidden = [500, 500], activation = "relu" }
encoder = { name = "mlp", hidden = [500, 500], activation = "relu" }
decoder = { name = "mlp", hidden = [500, 500], activation = "relu" }
likelihood = "bernoulli"

[model.latents.z]
size = 100

[model.auxiliary]
size = 100
encoder = { name = "mlp", hidden = [500, 500], activation = "relu" }
generator = { name = "mlp", hidden = [500, 500], activation = "relu" }

[objective]
name = "semi-supervised"
classification = 60.0
beta = { name = "linear", start = 0.0, end = 1.0, until = 0.2 }

[training]
epochs = 200
batch_size = 200
labelled = 100
learning_rate = 3e-4

[pictures]
report = ["conditional-grid"]
"""

SDGM = ADGM.replace("ADGM: M2 with an auxiliary latent", "SDGM: M2 with an auxiliary latent that the decoder sees")
SDGM = SDGM.replace("[model.auxiliary]\n", "[model.auxiliary]\nskip = true\n")

RECIPES: dict[str, str] = {
    "digits": DIGITS,
    "binary-mnist-diagonal": BINARY_MNIST_DIAGONAL,
    "binary-mnist-full-rank": BINARY_MNIST_FULL_RANK,
    "grey-mnist": GREY_MNIST,
    "grey-mnist-sigmoid-adagrad": GREY_MNIST_SIGMOID_ADAGRAD,
    "softplus-mnist": SOFTPLUS_MNIST,
    "elu-mnist": ELU_MNIST,
    "conditional-mnist": CONDITIONAL_MNIST,
    "beta-mnist": BETA_MNIST,
    "gumbel-mnist": GUMBEL_MNIST,
    "cluster-mnist": CLUSTER_MNIST,
    "m1": M1,
    "m2": M2,
    "m1-m2": M1_M2,
    "adgm": ADGM,
    "sdgm": SDGM,
    "iwae-mnist": IWAE_MNIST,
}
