"""The verbs. Each stage reads and writes whole files; stages meet only through them.

preprocess   photos                      -> faces.h5
classifier   faces.h5                    -> classifier.h5
train        faces.h5                    -> generator.h5
invert       faces.h5, generator.h5      -> latents.h5
density      latents.h5                  -> density.h5
editor       latents.h5                  -> editor.h5
evaluate     all of them                 -> evaluation.h5, metrics.json
report       all of them                 -> report.html
paper        runs of a paper's models    -> paper.html, paper.json
"""
