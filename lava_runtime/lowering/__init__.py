"""A graph as descriptions of Lava processes, made without Lava: portable (Lava's own processes) or compact."""
