"""Doors to other libraries, each a file, each library optional."""
