"""Style mixing: some layers of one face's code, the others of another's (Ghosh's thesis, figure 6.3)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgcli.config.fields import whole
from fgcli.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from fgcli.capabilities import Generator
    from fgcli.codes import Codes
    from fgcli.subjects import HeadFiles


def mix(
    what: Sequence[str],
    others: Sequence[str],
    layers: str,
    output: Path,
    paste_back: bool,
    face: str,
    generator: Path,
    latents: Path,
    heads: HeadFiles,
) -> dict[str, Any]:
    """A grid: in each row a face that takes `layers` of its code from the face above each column.

    Raises:
        UsageError: a generator of one code layer, or layers that it does not have.
    """
    import numpy as np

    from fgcli.generators import store
    from fgcli.reports import grid
    from fgcli.reports.pictures import decoded, enlarge, shown_size
    from fgcli.subjects import Subjects, distinct, expanded, is_photo, outputs, save_changed

    what, others, model = expanded(what), expanded(others), store.load(generator)
    taken, columns = span(layers, model.code_shape[0], generator), distinct(others or what)
    inputs = [generator, latents, *(Path(name) for name in others if is_photo(name))]
    files = outputs(output, what, columns if paste_back else [], inputs)
    rows = distinct(what)
    grid.verify_room(output, grid.extent(len(rows) + 1, len(columns) + 1, shown_size(model), rows, columns))
    people = Subjects(what, face, generator, latents, model, heads, output=output)
    takers, left = list(people), people.left_out
    givers = takers
    if others:
        people = Subjects(others, face, generator, latents, model, heads, output=output)
        givers, left = list(people), left + people.left_out
    written, pictures = [output], [[np.full_like(takers[0].face, 255), *(giver.face for giver in givers)]]
    for taker in takers:
        cells = [crossed(model, taker.code, giver.code, taken) for giver in givers]
        if taker.cut and paste_back:
            plain, paths = decoded(model, taker.code)[0], [files[taker.place][giver.place] for giver in givers]
            save_changed(taker.name, taker.cut, [cell.astype(np.float32) - plain for cell in cells], paths)
            written += paths
        pictures.append([taker.face, *cells])
    labels = ["", *(rows[taker.place] for taker in takers)], ["", *(columns[giver.place] for giver in givers)]
    grid.save_picture(output, grid.sheet(pictures, *labels, enlarge(model)))
    told = {"rows": len(takers), "columns": len(givers), "layers": f"{taken.start}:{taken.stop}"}
    return {"output": list(map(str, written)), **told, **({"left_out": left} if left else {})}


def crossed(model: Generator, taker: Codes, giver: Codes, taken: slice) -> np.ndarray:
    """The picture (h, w, 3) of one code with layers of another."""
    from fgcli.codes import accepted, coded
    from fgcli.reports.pictures import decoded

    values = accepted(model, taker).clone()
    values[:, taken] = accepted(model, giver)[:, taken]
    return decoded(model, coded(model, values, taker.condition))[0]


def span(text: str, layers: int, generator: Path) -> slice:
    """ "0:4" as the layers 0 to 3; "" as the coarser half.

    Raises:
        UsageError: there is one layer only, or not these.
    """
    if layers == 1:
        raise UsageError(
            f"{generator}: expected a generator whose codes have several layers, found one layer; "
            "mix its faces by fg interpolate or fg merge"
        )
    start, _, stop = (text or f"0:{(layers + 1) // 2}").partition(":")
    first, last = whole(start), whole(stop)
    if first is None or last is None or not first < last <= layers:
        raise UsageError(f"--layers {text}: expected FROM:TO within 0:{layers}, TO not included; write 0:{layers // 2}")
    return slice(first, last)
