"""Looking at runs: figures, pictures by name, reports, files, the terminal."""
