"""Help for tests of code that uses the hal; nothing in production imports it."""
