"""Densities, divergences and flows that torch lacks, and what is asked of any distribution."""
