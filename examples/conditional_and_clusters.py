# %% [markdown]
# # Classes given, and classes found
#
# MNIST's images come in ten classes. This page gives them to a model, and then lets another find them by itself.
#
# ## A conditional VAE
#
# With the label $y$ given to the decoder, $p(x \mid z, y)$, the code need not tell which digit it is, only how it is
# written (Sohn et al. 2015). The KL is weighted by $\beta$ (Higgins et al. 2017):
#
# $$\mathbb{E}_{q(z \mid x)}[\log p(x \mid z, y)] - \beta \mathrm{KL}(q(z \mid x) \Vert p(z)).$$
#
# At $\beta = 1$ it is a bound of $\log p(x \mid y)$. A larger one makes each nat of the code dearer: the model says
# less in $z$, and leaves more to the label.

# %%
from pathlib import Path

import vaekit
from vaekit.show import plots

DATA = None  # the recipes' own data, MNIST; "digits" is built in and takes seconds
EPOCHS = {"conditional": 15, "gumbel": 15, "cluster": 50}  # those of the lesson, and of the recipe
OUT = Path("runs/conditional_and_clusters")


# %%
runs = {
    beta: vaekit.train(
        "conditional-mnist",
        OUT / f"beta-{beta}",
        data=DATA,
        sets=[f"objective.beta={beta}"],
        epochs=EPOCHS["conditional"],
        overwrite=True,
    )
    for beta in (1, 10)
}
for row in vaekit.compare(list(runs.values()), samples=20).rows:
    scores = row.evaluation
    print(f"{row.name:8} reconstruction {scores.reconstruction:8.2f}   KL {scores.kl:6.2f}   ELBO {scores.elbo:8.2f}")
    print(f"{'':8} {scores.active_units} of {scores.latent_size} code dimensions in use")

# %% [markdown]
# The ELBO of the table is that at $\beta = 1$ for both, so that they can be compared. (Grey pixels are scored as
# Bernoulli probabilities, as in the lesson: [no likelihood](first_vae.py).)
#
# The pairs are data and, to the right of each, its reconstruction, first with $\beta = 1$, then with $\beta = 10$:

# %%
plots.save(vaekit.draw(runs[1], "pairs", n=16, columns=4), OUT / "pairs-1.png")

# %%
plots.save(vaekit.draw(runs[10], "pairs", n=16, columns=4), OUT / "pairs-10.png")

# %% [markdown]
# ## Every class from the same code
#
# A row for each class; down a column the code is the same. With $\beta = 10$:

# %%
plots.save(vaekit.draw(runs[10], "conditional-grid"), OUT / "grid-10.png")

# %% [markdown]
# What is common to a column is what $z$ holds: slant, width, weight of the pen. Which digit it is comes from the label,
# which is free, while each nat of the code costs ten. The same with $\beta = 1$:

# %%
plots.save(vaekit.draw(runs[1], "conditional-grid"), OUT / "grid-1.png")

# %% [markdown]
# Its reconstructions are the better ones, and yet the rows hardly differ: the code tells the digit too, for the encoder
# never saw the label and has nats enough to say everything. So the label is left without a use, and a draw of one class
# may be any digit. A better bound is not always a better answer to what one wants to know.
#
# Twenty draws of one class, by its name, with $\beta = 10$:

# %%
threes = runs[10].sample(20, "3", draw=False, seed=1)
plots.save(plots.image_grid(threes, columns=10), OUT / "threes.png")

# %% [markdown]
# ## Classes that nobody gave
#
# Now no label is shown. The code has two parts, a category $c$ of ten and a Gaussian $z$ for the rest, and the category
# may become what a class is: a **cluster**. A category is not $\mu + \sigma \varepsilon$, so its gradient goes through
# a relaxed draw, Gumbel-softmax (Jang et al. 2017; Maddison et al. 2017):
#
# $$c = \mathrm{softmax}\left( \frac{\log \pi(x) + g}{\tau} \right), \qquad g_k \text{ independent, Gumbel}(0, 1).$$
#
# As the temperature $\tau$ falls, $c$ comes near to a one-hot; with `straight_through=true` it is one going forward,
# and relaxed going back. When a model is scored, $c$ is discrete, and summed out.
#
# The recipe has two dimensions of $z$ beside the category. Another run has 20:

# %%
gumbel = {
    size: vaekit.train(
        "gumbel-mnist",
        OUT / f"gumbel-{size}",
        data=DATA,
        sets=[f"model.latents.z.size={size}"],
        epochs=EPOCHS["gumbel"],
        overwrite=True,
    )
    for size in (20, 2)
}
for size, run in gumbel.items():
    print(f"{size} dimensions of z")
    for record in run.history():
        terms = record.terms
        if "nmi" in terms:
            print(f"  epoch {record.epoch:2}   ELBO {terms['elbo']:8.2f}   KL of c {terms['kl/c']:.2f}", end="")
            print(f"   NMI {terms['nmi']:.3f}")

# %% [markdown]
# **NMI**, normalised mutual information of clusters and labels: 0 where one says nothing of the other, 1 where each
# tells the other. The labels serve to score only. The KL of $c$ is at most $\log 10 = 2.30$ nats, for a model that is
# always sure of the category and uses all ten alike.
#
# It is the conditional model's story again. Twenty dimensions can say everything by themselves: the KL of $c$ stays
# near 0, and its clusters mean nothing. Two cannot, and the category takes over part of the work. Its clusters, with
# their shares of the test images: samples, then images that fall into them.

# %%
plots.save(vaekit.draw(gumbel[2], "cluster-grid"), OUT / "clusters.png")

# %%
plots.save(vaekit.draw(gumbel[2], "cluster-grid", show="data"), OUT / "members.png")

# %% [markdown]
# Look for a digit split over two rows, and for two digits in one. The model was never told what counts as the same
# digit: it uses its category for whatever saves it most nats.
#
# ## Clusters that survive a small change
#
# What do we mean by the same digit? At least this: an image that is shifted by two pixels, turned by ten degrees or
# stretched a little still shows it. That says much, and needs no label. The recipe `cluster-mnist`
#
# - is nearly an autoencoder for the first half of its 50 epochs, $\beta = 0.001$,
# - then fits a mixture of Gaussians to the codes, which from there on is the prior $p(z) = \sum_c \pi_c
#   \mathcal{N}(z; \mu_c, \sigma_c^2)$ and trained with the rest at $\beta = 1$ (VaDE, Jiang et al. 2017),
# - and adds to the bound the information $I(c; c')$ between the cluster $c$ of an image and that of the image changed
#   (Ji et al. 2019). Of ten clusters it is $\log 10$ nats at most: when they are alike in size, each image is sure of
#   its own, and stays in it. The decoder sees no changed image; the bound is that of the data.
#
# Ten clusters at once would be a matter of luck: two digits in one and one in two is a trap that no gradient leads out
# of. So the mixture has 30 components for four epochs, which are small enough to hold one digit each; then ten are
# fitted to what these have made of the codes.

# %%
cluster = vaekit.train("cluster-mnist", OUT / "cluster", data=DATA, epochs=EPOCHS["cluster"], overwrite=True)
for record in cluster.history():
    terms = record.terms
    if "nmi" in terms and record.epoch % 4 == 3:
        print(f"epoch {record.epoch:2}   information {terms['information']:.2f}", end="")
        print(f"   NMI {terms['nmi']:.3f}   accuracy {terms['accuracy']:.1%}")

# %%
plots.save(vaekit.draw(cluster, "cluster-grid"), OUT / "survivors.png")

# %% [markdown]
# Accuracy is that of the best matching of clusters to digits, one to one: low while there are 30 of them. Tables have
# no shifts; there a changed row is one with some numbers of other rows.
#
# ## Try
#
# - `sets=["model.condition=true"]` for the first model: the encoder sees the label too (Sohn et al. 2015).
# - `sets=["model.latents.c.posterior.straight_through=true"]`; more clusters: `sets=["model.latents.c.size=20"]`.
# - `vaekit train cluster-mnist --set objective.invariance=0`: the mixture alone.
# - Another seed, `sets=["training.seed=1"]`: how much of what you saw was chance?
