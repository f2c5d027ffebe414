"""Running the exported files on the items that torch answered."""
