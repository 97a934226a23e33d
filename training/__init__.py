"""Data, networks and training of spiking detectors."""
