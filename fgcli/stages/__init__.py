"""The verbs. Each stage reads and writes whole files; stages meet only through them.

A file with `class Params` and `def run(inputs, output, *, params)` is a stage: `fg STAGE`, helped by its first line.
Paths from `output` on are written, those before it and after the star are read.
"""
