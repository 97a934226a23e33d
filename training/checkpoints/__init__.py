"""Checkpoints: safetensors with their configuration beside the weights."""
