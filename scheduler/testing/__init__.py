"""For tests of whatever has the scheduler in it: a fake executor, and the invariants."""
