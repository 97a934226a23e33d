"""NetX files: reading and writing."""
