"""What scripts/gpu.py measures: a module per kind, each measurement in a process of its own."""
