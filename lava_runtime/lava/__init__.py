"""Processes and process models for Lava; importing this package needs lava-nc."""
