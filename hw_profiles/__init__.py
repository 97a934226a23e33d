"""What a network costs on a chip, and whether it fits.

    profile = hw_profiles.load("loihi2")
    mapping = hw_profiles.map(graph, profile)
    report = hw_profiles.report(trace, mapping, profile)
"""
