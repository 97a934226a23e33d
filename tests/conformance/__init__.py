"""Agreement with Lava itself."""
