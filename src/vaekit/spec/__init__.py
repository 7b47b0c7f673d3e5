"""The spec of a run: its keys, typed and checked, what is built from it, how it is saved; recipes and parts by name."""
