"""The verbs. Each stage reads and writes whole files; stages meet only through them.

preprocess   photos                      -> faces.h5
heads        nothing                     -> heads/faces.h5, heads/flame.h5
regressor    heads/faces.h5, flame.h5    -> regressor.h5
flame        faces.h5, regressor.h5      -> flame.h5
classifier   faces.h5                    -> classifier.h5
train        faces.h5                    -> generator.h5
invert       faces.h5, generator.h5      -> latents.h5
density      latents.h5                  -> density.h5
editor       latents.h5                  -> editor.h5
classify     faces.h5, generator.h5      -> classes.h5, classes.json
attack       faces.h5, generator.h5      -> attacks.h5, attacks.json
evaluate     all of them                 -> evaluation.h5, metrics.json
report       all of them                 -> report.html
paper        runs of a paper's models    -> paper.html, paper.json
"""
