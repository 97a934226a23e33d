"""Running described processes in Lava: wiring, watching, recording."""
