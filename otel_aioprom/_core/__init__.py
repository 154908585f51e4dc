"""The words that every room speaks: families and series, labels, names, numbers. No I/O, no threads."""
