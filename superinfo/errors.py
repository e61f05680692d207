"""The ways a verb ends other than well, each with its exit code."""


class SuperInfoError(Exception):
    """A failure that is told in one line; `exit_code` is what the process returns."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        # A data loader's worker hands its exception over as the text of a traceback: keep the message alone.
        super().__init__(message.rsplit(f"{type(self).__name__}: ", 1)[-1].strip())


class Diverged(SuperInfoError):
    """Training produced a loss that is not finite."""


class UserError(SuperInfoError):
    """The user's input is wrong: the message says what, where and the remedy."""

    exit_code = 2


class EvidenceRefused(SuperInfoError):
    """A conversion does not prove; nothing was written."""

    exit_code = 3


class Interrupted(SuperInfoError):
    """Stopped by a signal; the same command resumes."""

    exit_code = 75
