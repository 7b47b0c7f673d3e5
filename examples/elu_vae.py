# %% [markdown]
# # Watching a bound and its two parts
#
# The ELBO is a sum of two terms, and most of what can be learned about a VAE while it trains is in how they move:
#
# $$\mathrm{ELBO}(x) = \underbrace{\mathbb{E}_{q(z \mid x)}[\log p(x \mid z)]}_{\text{reconstruction}} -
# \underbrace{\mathrm{KL}(q(z \mid x) \Vert p(z))}_{\text{what the code tells, nats}}.$$
#
# The model is one of ELU layers (Clevert et al. 2016), 256–256 both ways and 64 code dimensions. Grey pixels become
# data for a Bernoulli likelihood in the honest way: each is **drawn once** as 0 or 1, with its grey value as its
# probability.

# %%
from pathlib import Path

import vaekit
from vaekit.show import plots

DATA = None  # the recipe's own data, MNIST; "digits" is built in and takes seconds
EPOCHS = 10  # as in the lesson
OUT = Path("runs/elu_vae")


# %% [markdown]
# The recipe `elu-mnist` takes 50,000 images to train, 500 to validate and 500 to test, batches of 64, Adam at 1e-3. It
# keeps $\log \sigma^2$ of the posterior within $[-10, 10]$, so that one wild step cannot make it infinite. The decoder
# gives logits, from which $\log p(x \mid z)$ is exact however sure it is: no probability needs to be clipped.

# %%
run = vaekit.train("elu-mnist", OUT / "run", data=DATA, epochs=EPOCHS, overwrite=True)
plots.save(vaekit.draw(run, "data", n=100, columns=10), OUT / "data.png")

# %% [markdown]
# ## The lower bound, the KL and log p(x | z)

# %%
print("epoch           ELBO     KL   log p(x|z)")
for record in run.history():
    terms = record.terms
    print(f"{record.epoch:5} {record.split:>6} {terms['elbo']:8.2f} {terms['kl']:6.2f} {terms['reconstruction']:12.2f}")

# %%
plots.save(vaekit.draw(run, "curves"), OUT / "curves.png")

# %% [markdown]
# Three things to look for:
#
# - **The KL rises** while the bound does. The model starts with a code that says nothing (KL near 0), and each thing
#   that it finds worth saying costs nats of KL and saves more of them in the reconstruction.
# - **The gap** between training and validation. At first validation is above training, whose average is over a whole
#   epoch of getting better; ten epochs bring the two together. Train on: where training goes up and validation does
#   not, the model learns images by heart.
# - **Noise.** 500 validation images leave an error of some nats, below, which a change from epoch to epoch must exceed
#   to mean anything.

# %%
scores = run.evaluate("test", samples=200)
print(f"{scores.n} test images: ELBO {scores.elbo:.2f} ± {scores.elbo_stderr:.2f}, KL {scores.kl:.2f}")
print(f"-log p(x) at most {scores.nll:.2f} ± {scores.nll_stderr:.2f} nats, {scores.bits_per_dim:.3f} bits per pixel")
print(f"{scores.active_units} of {scores.latent_size} code dimensions in use")

# %% [markdown]
# The reconstruction term is one draw of $z$ for each image, as in training; the reconstructions below are
# deterministic, from the posterior's mean.
#
# ## The same codes before and after
#
# On the left samples of the model as it was before its training, its weights drawn again from the seed; on the right
# those of the trained one, **from the same codes**.

# %%
plots.save(vaekit.draw(run, "untrained-samples", n=100, columns=10), OUT / "samples.png")

# %% [markdown]
# An untrained decoder gives every pixel about one chance in two whatever the code is. Training has not moved the codes,
# it has given them a meaning.
#
# ## Reconstructions

# %%
plots.save(vaekit.draw(run, "reconstructions", n=50, columns=10), OUT / "reconstructions.png")

# %% [markdown]
# Compare the rough edges of the data, where pixels were drawn, with the smooth ones of the model: it gives the
# probability of each pixel, which is what the draw was made from.
#
# ## Try
#
# - `sets=["data.binarize=stochastic"]` draws pixels afresh each time that an image is shown. What happens to the gap?
# - `sets=["model.encoder.activation=tanh", "model.decoder.activation=tanh"]` and `vaekit.compare`.
# - With labels for a few images the same idea becomes semi-supervised learning: [the next page](semi_supervised.py).
