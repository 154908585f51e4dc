"""Series: what each holds, and the store of a collector that finds, limits and expires them."""
