"""Bit-exact agreement of every backend with the slow interpreter."""
