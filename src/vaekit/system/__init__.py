"""The machine: files that are whole or not there, memory, devices, work that says how far it is."""
