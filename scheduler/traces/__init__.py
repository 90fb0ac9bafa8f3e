"""Readers of public workload traces, and a generator of synthetic ones.

Traces are read from the path that the caller names; none is part of this project.
"""
