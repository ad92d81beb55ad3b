"""The two ways in which fg says no."""


class FgError(Exception):
    """A failure that the user can mend.

    The message is one sentence: the file, what was expected, what was found, the fix.
    """


class UsageError(FgError):
    """The command line or the params are wrong; exit code 2."""
