"""Operations by projecting onto what the generator can make (Ghosh's thesis, section 6.4): of photos, or of rows.

inpaint, merge, retouch, deblur. Each finds the code of a picture that no photo shows, decodes it, and puts what
that changes into the photo. Such a picture has no head that a generator could be told of: none may be steered by heads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgcli.config.fields import whole
from fgcli.console import say
from fgcli.errors import FgError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from fgcli.capabilities import Generator
    from fgcli.codes import Codes
    from fgcli.faces.cutter import Cut
    from fgcli.faces.photos import Decoded

GREY = 128
"""What stands in a hole before it is filled."""
NOTICED = 12
"""Smallest difference of two crops that is an edit, of 255: what JPEG does to a crop is below."""
SOFT = 0.03
"""Share of the crop over which a change fades."""


def inpaint(photo: str, hole: str, output: Path, face: str, generator: Path, latents: Path) -> dict[str, Any]:
    """A strip, and the photo with its hole filled: by the code of what is around it.

    Raises:
        UsageError: a row instead of a photo, or no such hole.
        FgError: a hole that misses the face, or leaves nothing of it.
    """
    import numpy as np

    from fgcli.capabilities import Masks
    from fgcli.faces.align import fill, held, warp
    from fgcli.reports import grid
    from fgcli.reports.pictures import decoded, enlarge
    from fgcli.subjects import outputs, save_like

    only_photos(photo)
    rectangle = numbers(hole)
    paths = [generator, latents, *([] if rectangle else [Path(hole)])]
    [file] = outputs(output, [photo], ["inpainted"], paths)[0]
    model = unsteered(generator, "fg inpaint")
    project, cut, full = photographed(photo, face, output, model, generator, latents)
    missing = (
        cut_out(rectangle, full.pixels.shape[:2]) if rectangle else painted_hole(Path(hole), full.pixels.shape[:2])
    )
    known_part = cut.mask if isinstance(model, Masks) else np.full_like(cut.mask, 255)
    changed = missing & held(known_part, cut.matrix, missing.shape)
    gone = warp(np.repeat(missing[..., None] * np.uint8(255), 3, 2), cut.matrix, len(cut.image))[..., 0] > 0
    verify_hole(hole, changed, missing, gone, cut)
    damaged = np.where(gone[..., None], np.uint8(GREY), cut.image)
    made = decoded(model, project(damaged, ~gone))[0]
    pixels = fill(full.pixels, made.astype(np.float32), cut.matrix, missing, changed)
    save_like(full, pixels, file)
    row = [cut.image, damaged, made, warp(pixels, cut.matrix, len(cut.image))]
    labels = ["face", "hole", "code", "filled"]
    grid.save_picture(output, grid.sheet([row], [Path(photo).stem], labels, enlarge(model)))
    return {"output": [str(output), str(file)], "filled_pixels": int(changed.sum())}


def photographed(
    photo: str, face: str, output: Path, model: Generator, generator: Path, latents: Path
) -> tuple[Callable[..., Codes], Cut, Decoded]:
    """What finds codes, the face of a photo, and the photo.

    Raises:
        FgError: files that do not belong together, or no face.
    """
    from fgcli.faces.cutter import Cutter
    from fgcli.generators import store
    from fgcli.subjects import asked_faces, beside, projector, whole_photo

    store.verify(latents, generator)
    [cut] = asked_faces(Cutter.of(generator, face), photo, face, beside(output, photo))
    return projector(latents, model), cut, whole_photo(Path(photo))


def unsteered(generator: Path, by: str) -> Generator:
    """The generator; raises UsageError where heads steer it."""
    from fgcli.capabilities import Conditional, require
    from fgcli.generators import store

    model = store.load(generator)
    require(model, refused=(Conditional,), by=by)
    return model


def only_photos(*names: str) -> None:
    """Raises UsageError where one is a row: what is done needs the photo itself."""
    from fgcli.subjects import is_photo

    for name in names:
        if not is_photo(name):
            raise UsageError(f"{name}: expected a photo, found the number of a row; name a file")


def numbers(text: str) -> list[int]:
    """ "10,20,30,40" as four numbers; none where it is a file.

    Raises:
        UsageError: neither.
    """
    if Path(text).is_file():
        return []
    found = [number for part in text.split(",") if (number := whole(part.strip())) is not None]
    if len(found) != 4 or text.count(",") != 3 or not (found[2] and found[3]):
        raise UsageError(
            f"--hole {text}: expected X,Y,WIDTH,HEIGHT in px of the photo, or a file with a mask; write 120,80,60,40"
        )
    return found


def cut_out(rectangle: Sequence[int], shape: tuple[int, ...]) -> np.ndarray:
    """A hole, bool (h, w), of X, Y, WIDTH, HEIGHT."""
    import numpy as np

    x, y, width, height = rectangle
    missing = np.zeros(shape, bool)
    missing[y : y + height, x : x + width] = True
    return missing


def painted_hole(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """A hole, bool (h, w), of a mask file: where it is white.

    Raises:
        FgError: not a picture, or not of the photo's size.
    """
    from fgcli.faces.photos import BadPhotoError, decode_mask

    try:
        missing = decode_mask(path)
    except BadPhotoError as error:
        raise FgError(f"--hole {path}: {error}") from error
    if missing.shape != shape:
        (h, w), (height, width) = missing.shape, shape
        raise FgError(
            f"--hole {path}: expected a mask of the photo's size, {width}x{height} px, found {w}x{h}; resize it"
        )
    return missing


def verify_hole(hole: str, changed: np.ndarray, missing: np.ndarray, gone: np.ndarray, cut: Cut) -> None:
    """Raises FgError where a hole misses the face or leaves nothing of it; tells what of it is not filled."""
    from fgcli.faces.align import frame

    if not changed.any():
        x, y, width, height = frame(cut.matrix, len(gone))
        raise FgError(
            f"--hole {hole}: expected a hole in the face, which lies within {x},{y},{width},{height}, found it beside; "
            "place it there"
        )
    if gone[cut.mask > 127].all():
        raise FgError(
            f"--hole {hole}: expected a hole that leaves a part of the face, found none left; make it smaller"
        )
    if beside := 1 - changed.sum() / missing.sum():
        say(f"--hole {hole}: {beside:.0%} of it lies off the face and stays as it is")


def merge(
    first: str, second: str, mask: Path | None, output: Path, face: str, generator: Path, latents: Path
) -> dict[str, Any]:
    """A strip of two faces put together, and the photo of the first with the one face that they give.

    Raises:
        FgError: a mask that is no picture.
    """
    import numpy as np

    from fgcli.reports.pictures import decoded
    from fgcli.subjects import Strip, Subjects, distinct, is_photo, outputs, projector, save_changed

    inputs = [generator, latents, *([mask] if mask else []), *([Path(second)] if is_photo(second) else [])]
    files = outputs(output, [first], distinct([second]), inputs)
    model = unsteered(generator, "fg merge")
    share = seconds(mask, model.image_shape[1:])[..., None]
    strip = Strip(output, model, [first], ["first", "second", "together", "code"])
    one, other = Subjects([first, second], face, generator, latents, model, least=2, output=output)
    together = np.where(share, other.face, one.face)
    made = decoded(model, projector(latents, model)(together))[0]
    if one.cut:
        change = made.astype(np.float32) - decoded(model, one.code)[0]
        save_changed(one.name, one.cut, [change], files[0])
    strip.add(one, [other.face, together, made])
    strip.save()
    return {"output": [str(output), *map(str, files.get(0, []))], "second": float(share.mean())}


def seconds(mask: Path | None, shape: tuple[int, ...]) -> np.ndarray:
    """Where the second of two faces stands, bool (h, w): the right half of the crop, or where a mask is white.

    Raises:
        FgError: the mask is no picture.
    """
    import numpy as np
    from PIL import Image

    from fgcli.faces.photos import BadPhotoError, decode_mask

    height, width = shape
    if mask is None:
        return np.broadcast_to(np.arange(width) >= width // 2, (height, width))
    try:
        return np.asarray(Image.fromarray(decode_mask(mask)).resize((width, height), Image.Resampling.NEAREST))
    except BadPhotoError as error:
        raise FgError(f"--mask {mask}: {error}") from error


def retouch(
    edited: str, original: str | None, output: Path, face: str, generator: Path, latents: Path
) -> dict[str, Any]:
    """A strip, and the photo in which what was painted by hand has become what a face can have.

    With the original the change that the edit makes to the code's picture is added to it, where the two differ; else
    the face itself is replaced by what its code gives.

    Raises:
        FgError: photos of two sizes, or of the same face.
    """
    import numpy as np

    from fgcli.faces.align import add_change, blend, warp
    from fgcli.reports import grid
    from fgcli.reports.pictures import decoded, enlarge
    from fgcli.subjects import outputs, save_like

    only_photos(edited, *([original] if original else []))
    inputs = [generator, latents, *([Path(original)] if original else [])]
    [file] = outputs(output, [edited], ["retouched"], inputs)[0]
    model = unsteered(generator, "fg retouch")
    project, cut, full = photographed(original or edited, face, output, model, generator, latents)
    if original:
        painted = warp(of_size(edited, original, full.pixels.shape), cut.matrix, len(cut.image))
        region = differing(painted, cut.image, cut.mask, edited, original)
        plain, made = (decoded(model, project(image))[0] for image in (cut.image, painted))
        pixels = add_change(full.pixels, made.astype(np.float32) - plain, cut.matrix, region)
        row, labels = [cut.image, painted, made], ["original", "edited", "code"]
    else:
        made = decoded(model, project(cut.image))[0]
        pixels = blend(full.pixels, made.astype(np.float32), cut.matrix, cut.mask)
        row, labels = [cut.image, made], ["edited", "code"]
    save_like(full, pixels, file)
    row.append(warp(pixels, cut.matrix, len(cut.image)))
    grid.save_picture(output, grid.sheet([row], [Path(edited).stem], [*labels, "retouched"], enlarge(model)))
    return {"output": [str(output), str(file)], "changed_pixels": int((pixels != full.pixels).any(-1).sum())}


def of_size(edited: str, original: str, shape: tuple[int, ...]) -> np.ndarray:
    """The pixels of the edited photo.

    Raises:
        FgError: not a photo, or not of the original's size.
    """
    from fgcli.faces.photos import BadPhotoError
    from fgcli.subjects import whole_photo

    try:
        pixels = whole_photo(Path(edited)).pixels
    except BadPhotoError as error:
        raise FgError(f"{edited}: {error}") from error
    if pixels.shape != shape:
        (h, w, _), (height, width, _) = pixels.shape, shape
        raise FgError(
            f"{edited}: expected the size of {original}, {width}x{height} px, found {w}x{h}; edit it without resizing"
        )
    return pixels


def differing(painted: np.ndarray, crop: np.ndarray, mask: np.ndarray, edited: str, original: str) -> np.ndarray:
    """Where two crops differ, and a soft edge around it, on the mask: uint8 (s, s) of 0 or 255.

    Raises:
        FgError: nowhere on the face.
    """
    import numpy as np
    from scipy import ndimage

    differs = (np.abs(painted.astype(np.int16) - crop).max(-1) > NOTICED) & (mask > 127)
    if not differs.any():
        raise FgError(f"{edited}: expected a face edited by hand, found that of {original}; name the edited file first")
    grown = ndimage.distance_transform_edt(~differs) <= 2 + SOFT * len(mask)
    return np.where(grown, mask, 0).astype(np.uint8)


def deblur(
    what: Sequence[str],
    strengths: Sequence[float],
    blur: float,
    output: Path,
    paste_back: bool,
    face: str,
    generator: Path,
    latents: Path,
) -> dict[str, Any]:
    """A strip, and the photos, of codes moved away from those of blurred copies: z + strength (z - z_blurred).

    That is extrapolation (Ghosh's thesis, section 6.4.3), no model of blur: it sharpens as far as the generator can.
    """
    import numpy as np
    from scipy import ndimage

    from fgcli.reports.pictures import decoded
    from fgcli.subjects import Strip, Subjects, expanded, outputs, projector, save_changed

    what, labels = expanded(what), [f"{s:+g}" for s in strengths]
    files = outputs(output, what, labels if paste_back else [], [generator, latents])
    model = unsteered(generator, "fg deblur")
    strip = Strip(output, model, what, ["face", "blurred", "code", *labels])
    people, project, written = (
        Subjects(what, face, generator, latents, model, output=output),
        projector(latents, model),
        [output],
    )
    for person in people:
        blurred = ndimage.gaussian_filter(person.face, (blur, blur, 0), mode="nearest")
        step = person.code.values - project(blurred).values
        plain = decoded(model, person.code)[0]
        changed = [decoded(model, person.code.moved(person.code.values + s * step))[0] for s in strengths]
        if person.cut and paste_back:
            changes = [picture.astype(np.float32) - plain for picture in changed]
            save_changed(person.name, person.cut, changes, files[person.place])
            written += files[person.place]
        strip.add(person, [blurred, plain, *changed])
    strip.save()
    return {"output": list(map(str, written)), "strengths": list(strengths), "blur": blur, **people.told()}
