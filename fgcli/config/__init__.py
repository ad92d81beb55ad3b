"""Params: one YAML section per stage, checked by type and range; and registries: a name and arguments to an object."""

from fgcli.config.documents import document, flow, text
from fgcli.config.params import Section, apply, defaults, near, overlay, parse, read, section
from fgcli.config.registry import Spec, build, is_spec, lookup, pick, supply

__all__ = [
    "Section",
    "Spec",
    "apply",
    "build",
    "defaults",
    "document",
    "flow",
    "is_spec",
    "lookup",
    "near",
    "overlay",
    "parse",
    "pick",
    "read",
    "section",
    "supply",
    "text",
]
