"""fg flame: the stage, the same for a video, and what can be drawn and written of heads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fgcli.cli import Group
from fgcli.cli.stage import command

VERBS = {
    "follow": ("fgcli.cli.follow:follow", "Heads of a video, or of a folder of its frames: fg flame VIDEO|FOLDER."),
    "fits": ("fgcli.cli.heads:fits", "How heads fit their photos, side by side."),
    "render": ("fgcli.cli.heads:render", "A head turning, or one face becoming another."),
    "export": ("fgcli.cli.heads:export", "Heads as OBJ or PLY with texture, parameters as npz."),
}


class Flame(Group):
    """The stage when called alone, else one of VERBS; a video or a folder stands for `follow` and itself."""

    table = VERBS

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Also keeps what was given: options of `follow` may stand before the video."""
        self.given = list(args)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Called when there is a verb: the stage then does not run."""
        self.callback = None
        if args[0] not in VERBS and (Path(args[0]).suffix or Path(args[0]).exists()):
            args = ["follow", *self.given]
        return super().resolve_command(ctx, args)


def _app() -> Flame:
    stage = command("flame")
    return Flame(
        name="flame", params=stage.params, callback=stage.callback, invoke_without_command=True, help=stage.help
    )


def __getattr__(name: str) -> Any:
    """The group, made anew for each call: a verb turns its callback off."""
    if name != "app":
        raise AttributeError(name)
    return _app()
