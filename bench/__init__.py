"""Benchmarks against other libraries: `python -m bench.run exact`, or `nearfield bench exact`."""
