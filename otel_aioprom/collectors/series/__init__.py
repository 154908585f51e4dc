"""Series of each kind, and the store of a collector that finds, limits and expires them."""
