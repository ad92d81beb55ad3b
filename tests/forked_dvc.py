"""dvc whose stages are forks of it, each a process of its own: what all of them import is imported once.

`python tests/forked_dvc.py repro` is `dvc repro` but for that; test_wheel.py has dvc start the installed command.
"""

import multiprocessing
import os
import shlex
import sys
from typing import Any

from dvc.cli import main
from dvc.stage import run
from dvc.stage.exceptions import StageCmdFailedError


def forked(executable: str, cmd: str, *, cwd: str, env: dict[str, str], **_: Any) -> None:
    """In place of a shell that starts `fgcli STAGE`."""
    if cmd != "fgcli preprocess":  # which needs none of them
        import sklearn.mixture  # noqa: F401
        import torch._dynamo  # noqa: F401 - optimisers import it
        import torchvision  # noqa: F401

    stage = multiprocessing.get_context("fork").Process(target=command, args=(cmd, cwd, env))
    stage.start()
    stage.join()
    if stage.exitcode:
        raise StageCmdFailedError(cmd, stage.exitcode)


def command(cmd: str, cwd: str, env: dict[str, str]) -> None:
    """A stage's command, in this process."""
    from fgcli.cli import main

    program, *words = shlex.split(cmd)
    assert program == "fgcli"
    os.chdir(cwd)
    os.environ.update(env)
    sys.argv = [program, *words]
    main()


if __name__ == "__main__":
    run._run = forked
    sys.exit(main(sys.argv[1:]))
