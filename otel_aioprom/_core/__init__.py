"""The terms that all packages share: families and series, labels, names, numbers. No I/O, no threads."""
