"""Foreign files: FLAME's, DECA's, pickles and meshes, read without running any of their code."""
