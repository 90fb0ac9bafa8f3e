"""The levels above a cluster."""
