"""The explorer: a page on which the latent space of a run is walked through, served or written as one file."""
