"""The simulator: the same machine, policies and loop, with an executor in simulated time."""
