# %% [markdown]
# # A VAE as a probabilistic program
#
# A VAE is two probabilistic programs. The **model** says how data come about, and the **guide** guesses what in it is
# hidden:
#
# ```
# model:  for each datum, independently           guide:  for each datum, independently
#             z ~ Normal(0, I)                                 z ~ Normal(mu(x), diag(sigma(x)²))
#             x ~ Bernoulli(decoder(z))
# ```
#
# Stochastic variational inference draws $z$ from the guide, and climbs along the gradient of
#
# $$\mathbb{E}_{q(z \mid x)}[\log p(x, z) - \log q(z \mid x)],$$
#
# the ELBO again, for any two programs with the same hidden variables. The programming language here is Pyro (Bingham
# et al. 2019; `pip install 'vaekit[pyro]'`), and `vaekit.interop.pyro.Program` makes both programs of any vaekit model.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import pyro
import torch
from pyro.infer import SVI, TraceMeanField_ELBO

import vaekit
from vaekit.data.tensors import to_device
from vaekit.interop.pyro import Program
from vaekit.likelihoods import Bernoulli
from vaekit.networks import MLP
from vaekit.posteriors import DiagonalNormal
from vaekit.priors import StandardNormal
from vaekit.show import plots

DATA = "mnist"  # or "digits", which is built in and takes seconds
EPOCHS = 5  # the lesson: 100
OUT = Path("runs/probabilistic_program")
OUT.mkdir(parents=True, exist_ok=True)


# %% [markdown]
# ## The parts
#
# One hidden layer of 400 softplus units either way, 50 code dimensions, $\sigma$ the exponential of an output. Each
# part is a PyTorch module; any depth, activation, likelihood or number of latents goes in their places. Pixels are grey
# and scored as probabilities of a Bernoulli, as in the lesson: this is [no likelihood](first_vae.py).

# %%
dataset = vaekit.load_dataset(DATA)
grey = vaekit.Preprocessing("grey")
train, test = (to_device(dataset, split, grey) for split in ("train", "test"))
whole = test.batch(slice(None))
x_test, labels = whole.x, whole.y

torch.manual_seed(0)
likelihood = Bernoulli(dataset.event_shape, train.seen)
model = vaekit.VAE(
    encoder=MLP(dataset.event_shape, hidden=(400,), activation="softplus"),
    posteriors={"z": DiagonalNormal(features=400, latent=50)},
    priors={"z": StandardNormal(latent=50)},
    decoder=MLP((50,), likelihood.parameter_shape, hidden=(400,), activation="softplus"),
    likelihood=likelihood,
)

# %% [markdown]
# ## Inference
#
# `program.model(x)` and `program.guide(x)` are ordinary Pyro programs: every tool of Pyro works on them. They share the
# weights of `model`, which is trained in place; `model.to("cuda")`, and the data with it, moves all to a GPU.

# %%
pyro.clear_param_store()
program = Program(model)
svi = SVI(program.model, program.guide, pyro.optim.Adam({"lr": 1e-3}), TraceMeanField_ELBO())
elbo = []
for epoch in range(1, EPOCHS + 1):
    loss = sum(svi.step(train.batch(rows).x) for rows in train.order(128)) / len(train)
    elbo.append(-svi.evaluate_loss(x_test) / len(x_test))
    print(f"epoch {epoch:2}   training ELBO {-loss:8.2f}   test ELBO {elbo[-1]:8.2f}")

# %% [markdown]
# A batch is a *plate* of independent data: its loss is the sum over the plate, here divided by the number of data.
# `TraceMeanField_ELBO` takes the KL in closed form; `Trace_ELBO` would estimate it from the same draws, right on
# average and noisier. Both give vaekit's own bound when they are given the same noise.

# %%
figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
axes.plot(range(1, EPOCHS + 1), elbo, marker="o")
axes.set(xlabel="epoch", ylabel="nats per image", title="Test ELBO")
axes.xaxis.get_major_locator().set_params(integer=True)
plt.close(figure)
plots.save(figure, OUT / "elbo.png")

# %% [markdown]
# ## Images in, images out
#
# Encode, take the posterior's mean, decode its mean; the first images of the test set above what becomes of them.

# %%
plots.save(plots.pairs_grid(x_test[:10], model.reconstruct(x_test[:10]), columns=10), OUT / "reconstructions.png")

# %% [markdown]
# Instead of the mean, ten draws from the posterior of one image: what they have in common is what the code holds fast.

# %%
draws = model.reconstruct(x_test[:1], samples=10, seed=0)[:, 0]
plots.save(plots.many_of_one(x_test[0], draws), OUT / "one.png")

# %% [markdown]
# Run forwards without data, the program makes some up: $z$ from the prior, then the mean of $p(x \mid z)$.

# %%
plots.save(plots.image_grid(model.sample(64, draw=False, seed=0)), OUT / "samples.png")

# %% [markdown]
# ## The space of codes
#
# Posterior means of 2,000 test images, 50 dimensions laid out in the plane by t-SNE. It keeps neighbours together;
# distances between far groups and the axes mean nothing. The classes are only colours here: training has not seen them.

# %%
points = plots.embed(model.encode(x_test[:2000]))
plots.save(plots.latent_map(points, labels[:2000], dataset.classes), OUT / "codes.png")

# %% [markdown]
# Look for the classes that touch, such as 4 and 9, or 3, 5 and 8, and for the points of one colour within another's
# group: these are the digits that people misread too.
#
# ## Try
#
# - `vaekit train softplus-mnist` is this model in vaekit's own loop, a good deal faster.
# - Another guide: replace `DiagonalNormal` by `FullRankNormal`, or by a flow. The loop stays as it is.
# - `pyro.infer.Predictive(program.model, num_samples=10)()` draws codes and images together.
