"""The ways in which fg says no, and in which it is told to stop."""


class FgError(Exception):
    """A failure that the user can mend.

    The message is one sentence: the file, what was expected, what was found, the fix.
    """


class UsageError(FgError):
    """The command line or the params are wrong; exit code 2."""


class Stopped(FgError):
    """A person asked to stop, and the work so far is kept; exit code 128 + `signal`."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message, signal)
        self.signal = signal

    def __str__(self) -> str:
        return str(self.args[0])


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM cuts the work; exit code 128 + `signal`. No Exception: nothing may take it for a bad file."""

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.signal = signal
