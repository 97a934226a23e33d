"""Basalt's tests. A package, so that `tests.reference` is ours and not a namesake from another wheel."""
