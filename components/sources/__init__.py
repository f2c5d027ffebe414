"""Where rows and base models come from."""
