"""What searches of codes find against the best strength of editors: python benchmarks/searching.py OUT OPTIMUM

OUT holds generator.h5, latents.h5, density.h5, editor.h5 and judges.h5; OPTIMUM is what `fg optimize` made of them, of
an attribute and near rows. For each row: the best value of every editor over a grid of strengths, and the search's
best, both within the limits of the search's score. Edited codes may be as unlikely as certificates of `fg edit` allow,
candidates no less likely than the row itself. At its identity: of candidates no farther from the person than the best
edit is; a search that shall be best there wants `identity_below` so low.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from fgcli import artifacts, densities, editors
from fgcli.certificate import identity_judge, least
from fgcli.classifiers import judges
from fgcli.codes import Codes, reader
from fgcli.config import build
from fgcli.generators import store
from fgcli.plans import AUTO, joined
from fgcli.search import SCORES, Score
from fgcli.search.items import items

STRENGTHS = np.concatenate([np.arange(0.1, 2, 0.1), np.arange(2, 6.1, 0.25)]).round(2).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("optimum", type=Path, nargs="+")
    given = parser.parse_args()
    files = {name: given.out / f"{name}.h5" for name in ("generator", "latents", "density", "editor", "judges")}
    model, read, known = store.load(files["generator"]), reader(files["latents"]), editors.load(files["editor"])
    law = list(densities.load(files["density"]).methods.values())[-1]
    edge, wins = least(law, files["latents"]), []
    with identity_judge(files["judges"]) as embedder:
        for path in given.optimum:
            found = artifacts.load(path, artifacts.OPTIMUM)
            context = {"judges": judges.load(files["judges"]), "embedder": embedder}
            score: Score = build(SCORES, found.params["score"], "score", **context)
            for number, trial in enumerate(found.meta["trials"]):
                start = read([trial["row"]])
                edits = {label: edited(known, label, score, start) for label in known.methods}
                tried = {
                    label: measured(model, score, start, codes) | {"likely": law.log_prob(codes.numpy()) >= edge}
                    for label, codes in edits.items()
                }
                wins.append(told(found, number, trial, tried))
    print(" ".join(f"{name}: {sum(w[name] for w in wins)} of {len(wins)}" for name in wins[0]))


def edited(known: editors.Editors, label: str, score: Score, start: Codes) -> Codes:
    """The start at all strengths of one editor."""
    return joined([known.edit(label, start, score.names[0], s) for s in STRENGTHS])


def measured(model: Any, score: Score, start: Codes, codes: Codes) -> dict[str, np.ndarray]:
    """Value, identity, and whether each lies within the score's limits."""
    first = items(model, start)[0]
    measures = score.measure([first, *items(model, codes)], first)
    low, high = score.limits(measures[0])
    within = ((measures > low) & (measures < high)).all(1)
    return {"value": measures[1:, 0], "identity": measures[1:, -1], "within": within[1:]}


def told(
    found: artifacts.Artifact, number: int, trial: Any, tried: dict[str, dict[str, np.ndarray]]
) -> dict[str, bool]:
    """Prints a row; whether the search is better."""
    best: dict[str, tuple[float, float, float]] = {}
    for label, edits in tried.items():
        good = np.where(edits["within"] & edits["likely"], edits["value"], -np.inf)
        auto = np.where([s in AUTO for s in STRENGTHS], good, -np.inf)
        for kind, values in ((label, good), (f"{label}, auto", auto)):
            i = int(np.argmax(values))
            best[kind] = float(values[i]), STRENGTHS[i], float(edits["identity"][i])
    own = (found["trial"] == number) & (found["valid"] > 0)
    value, apart = found["value"][own], found["measures/identity"][own]
    top = max(best, key=lambda kind: best[kind][0])
    equal = value[apart <= best[top][2]].max(initial=-np.inf)
    last = f"{list(tried)[-1]}, auto"
    edits_told = "; ".join(f"{k} {v:.2f} at {s:g}, identity {d:.3f}" for k, (v, s, d) in best.items())
    i = int(np.argmax(value))
    search = f"search {value[i]:.2f}, identity {apart[i]:.3f}; at {top}'s identity {equal:.2f}"
    print(f"row {trial['row']}: {search}; {edits_told}", flush=True)
    return {
        "better than the best edit": bool(value[i] > best[top][0]),
        "at its identity": bool(equal > best[top][0]),
        f"than {last}": bool(value[i] > best[last][0]),
    }


if __name__ == "__main__":
    main()
