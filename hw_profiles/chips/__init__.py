"""Chip files as data."""
