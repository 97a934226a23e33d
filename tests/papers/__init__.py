"""Numbers from papers and published tool outputs, as tests."""
