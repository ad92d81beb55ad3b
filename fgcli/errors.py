"""The ways in which fg says no, and in which it is told to stop."""

import re


class FgError(Exception):
    """A failure that the user can mend.

    The message is one sentence: the file, what was expected, what was found, the fix.
    """


def reason(error: Exception) -> str:
    """What the system or a library says of an error, as the end of a sentence.

    >>> reason(FileNotFoundError(2, "No such file or directory")), reason(ValueError("Line contains NUL"))
    ('no such file or directory', 'line contains NUL')
    """
    text = " ".join((getattr(error, "strerror", None) or str(error)).split())
    return text[:1].lower() + text[1:]


class UsageError(FgError):
    """The command line or the params are wrong; exit code 2."""


class FlawError(Exception):
    """What is wrong with the content of a file, found where its name and its mending are not known: they are added."""


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


def told(error: Exception) -> str:
    """An error as one sentence."""
    if isinstance(error, FgError):
        return str(error)
    if isinstance(error, OSError | MemoryError):
        return plain(error)
    if isinstance(error, RuntimeError) and re.search("can't allocate memory|out of memory", str(error)):  # torch's
        return plain(MemoryError())
    return f"a defect of fg: {type(error).__name__}: {error}; --debug shows where: please report it"


def plain(error: OSError | MemoryError) -> str:
    """An error of the operating system as a sentence."""
    if isinstance(error, MemoryError):
        return "expected enough memory, found too little; lower the batch or the image size"
    return f"{error.filename or 'file'}: {reason(error)}; check the path and its permissions"
