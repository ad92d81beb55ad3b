"""Where a run comes from: artifacts with their hashes, resolved params, licences."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fgcli import artifacts, assets
from fgcli.artifacts import Artifact
from fgcli.reports.nouns import Nouns


@dataclass(frozen=True)
class Origin:
    """One artifact: schema, version of fg, hash of its content, hashes of its inputs, resolved params as JSON."""

    name: str
    schema: str
    fg_version: str
    sha256: str
    inputs: dict[str, str]
    params: str


@dataclass(frozen=True)
class Terms:
    """Under what terms a thing may be used, and what for."""

    name: str
    used_for: str
    terms: str


def origins(stored: Mapping[str, Artifact]) -> list[Origin]:
    """The artifacts of a run, by the stage that reads them."""
    return [
        Origin(
            name,
            a.schema,
            a.fg_version,
            artifacts.sha256(a.path),
            dict(sorted(a.inputs.items())),
            json.dumps(a.params, indent=2, sort_keys=True, ensure_ascii=False),
        )
        for name, a in stored.items()
    ]


def licences(faces: Artifact, used: Iterable[str], nouns: Nouns) -> list[Terms]:
    """Terms of the data sets, of what found and cut the faces, and of the weights behind what was used."""
    terms = [
        Terms(
            entry.get("name", "?"), f"{entry.get('photos', '?')} {nouns.photos}", entry.get("licence") or "not stated"
        )
        for entry in faces.meta["datasets"]
    ]
    for part in ("analyser", "segmenter"):
        about = faces.meta[part]
        if isinstance(about, Mapping) and about.get("notice"):
            terms.append(Terms(str(about.get("name", part)), part, about["notice"]))
    used = list(used)
    for asset in assets.ASSETS.values():
        uses = [name for name in asset.needed_by if name in used]
        if uses:
            terms.append(Terms(asset.name, ", ".join(uses), asset.licence))
    return terms
