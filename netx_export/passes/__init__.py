"""Rewrites of a float graph, one file each."""
