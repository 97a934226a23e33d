"""Networks of lava-dl's SLAYER blocks, trained here: a detector and an event classifier. Needs lava-dl (Python 3.10)."""
