# %% [markdown]
# # Diagonal and full-rank posteriors
#
# A VAE has three roles that can be mixed and matched: the **generative network** $p(x \mid z)$, the **inference
# network** $q(z \mid x)$, and the model that joins them and is trained. This page keeps the first, and compares two
# families for the second:
#
# $$q(z \mid x) = N(\mu, \mathrm{diag} \sigma^2), \quad z = \mu + \sigma \odot \varepsilon
# \qquad\text{and}\qquad q(z \mid x) = N(\mu, L L^\top), \quad z = \mu + L \varepsilon,$$
#
# where $\varepsilon \sim N(0, I)$ and $L$ is lower triangular with a positive diagonal: its $D (D + 1) / 2$ numbers are
# outputs of the network as $\mu$ is (Kingma & Welling 2019, section 2.5.1). Both have a KL in closed form,
#
# $$\mathrm{KL}(N(\mu, L L^\top) \Vert N(0, I)) =
# \tfrac12 \left( \lVert \mu \rVert^2 + \lVert L \rVert_F^2 - D \right) - \sum_i \log L_{ii}.$$
#
# The true posterior has correlations: where one code dimension could take over from another, knowing one tells of the
# other. A diagonal $q$ cannot say so, and the ELBO pays for the difference: it is $\log p(x)$ less the divergence of
# $q$ from the true posterior.

# %%
from pathlib import Path

import vaekit
from vaekit.show import plots

DATA = None  # the recipe's own data, MNIST in black and white; "digits" is built in and takes seconds
EPOCHS = 5  # the lesson: 20
SIZE = 50  # D, the size of the code; the lesson: 200, where L has 20,100 numbers: ten times the work of a diagonal
OUT = Path("runs/full_rank_posteriors")


# %% [markdown]
# ## Two recipes that differ in one word
#
# `binary-mnist` is MNIST with each pixel drawn once as 0 or 1, in Larochelle's split of 50,000, 10,000 and 10,000. A
# product of Bernoullis is a likelihood of such data, so all numbers here are true nats. The recipes are tanh networks,
# 200–500 to generate and 500–200 to infer, with separate towers for $\mu$ and for $\sigma$ or $L$; Adam at 3e-4,
# batches of 200. Metrics and a checkpoint are kept of every epoch.

# %%
runs = {
    name: vaekit.train(
        f"binary-mnist-{name}",
        OUT / name,
        data=DATA,
        sets=[f"model.latents.z.size={SIZE}"],
        epochs=EPOCHS,
        overwrite=True,
    )
    for name in ("diagonal", "full-rank")
}
diagonal, full_rank = runs.values()
plots.save(vaekit.draw(diagonal, "data", n=5, columns=5), OUT / "data.png")

# %% [markdown]
# The structure of the second model, with the shape of what each layer gives and its number of parameters. Look at what
# $L$ costs: the last layer of its tower.

# %%
plots.save(vaekit.draw(full_rank, "model"), OUT / "model.png")

# %% [markdown]
# ## Which is the better one?
#
# `vaekit.compare` scores both on the same test data, and gives the difference with the standard error over pairs:
# an image that is hard for one is hard for the other, so the difference is known better than either number.

# %%
found = vaekit.compare([diagonal, full_rank], samples=50)
for row in found.rows:
    scores = row.evaluation
    print(f"{row.name}: {row.parameters:,} parameters, {scores.active_units} of {scores.latent_size} dimensions in use")
    print(f"  ELBO {scores.elbo:.2f} ± {scores.elbo_stderr:.2f} = {scores.reconstruction:.2f} - KL {scores.kl:.2f}")
    print(f"  -log p(x) {scores.nll:.2f} ± {scores.nll_stderr:.2f}")
row = found.rows[1]
print(f"-log p(x) of full-rank less that of diagonal: {row.nll_difference:.2f} ± {row.nll_difference_stderr:.2f}")

# %%
plots.save(plots.compared_curves({name: run.history() for name, run in runs.items()}), OUT / "curves.png")

# %% [markdown]
# Two numbers to keep apart. The **ELBO** judges both networks; $-\log p(x)$, here an upper bound by importance sampling
# ($\log \frac1K \sum_k p(x, z_k) / q(z_k \mid x)$, 50 draws), judges nearly the generative network alone. How much the
# first differs from the second is what the posterior loses. The standard errors are over test images: they do not say
# what another seed of the training would give.
#
# ## What a full-rank posterior has and a diagonal one cannot
#
# The correlations between code dimensions in $q(z \mid x)$: of one image on the left, and on the right their absolute
# values averaged over images.

# %%
plots.save(vaekit.draw(full_rank, "correlations"), OUT / "correlations.png")

# %% [markdown]
# For the diagonal posterior this picture is empty, by construction. Its model has learned to live
# with that: a decoder is trained together with the encoder, and prefers codes whose true posterior is near to what the
# encoder can say. This is why the gain is often less than one expects.
#
# ## Dreams, and one digit ten times
#
# Ten means of $p(x \mid z)$ at codes from the prior; then one test image, and ten reconstructions of it, each from
# another draw of $q(z \mid x)$.

# %%
plots.save(vaekit.draw(full_rank, "samples", n=10, columns=10), OUT / "samples.png")

# %%
plots.save(vaekit.draw(diagonal, "reconstruct-one", n=10), OUT / "one-diagonal.png")

# %%
plots.save(vaekit.draw(full_rank, "reconstruct-one", n=10), OUT / "one-full-rank.png")

# %% [markdown]
# After few epochs dreams are poor, and some are negatives: the prior's codes reach places where the decoder has never
# been. What differs between the ten is what the model takes to be open once it has seen the image. For black and white
# instead of means: `model.reconstruct(x, samples=10, draw=True)` draws each pixel, `> 0.5` takes the likelier value.
#
# ## Try
#
# - Other posteriors: `sets=["model.latents.z.posterior=flow"]`. Other activations, other layers:
#   `sets=["model.encoder.hidden=[300, 300]", "model.encoder.activation=relu"]`. A wrong name is
#   answered by the right ones.
# - The whole comparison as a page, in a shell:
#   `vaekit compare runs/full_rank_posteriors/{diagonal,full-rank} --out page.html`.
