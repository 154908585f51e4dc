"""The project's measurements: ours beside the peers, interleaved in one run.

Run ``python -m benchmarks`` from the root of the repository; ``--help`` lists the
options. What counts is the *ratio* ours ÷ peer: the absolute figures belong to one
machine, and nothing here asserts on them.
"""
