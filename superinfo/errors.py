"""The ways a verb ends other than well, each with its exit code."""


class SuperInfoError(Exception):
    """A failure that is told in one line; `exit_code` is what the process returns."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        # A data loader's worker hands its exception over as the text of a traceback: keep the message alone.
        if message.startswith(f"Caught {type(self).__name__} in "):
            message = message.rsplit(f"{type(self).__name__}: ", 1)[-1]
        super().__init__(printable(message.strip()))


class Diverged(SuperInfoError):
    """Training produced a loss that is not finite."""


class UserError(SuperInfoError):
    """The user's input is wrong: the message says what, where and the remedy."""

    exit_code = 2


class EvidenceRefused(SuperInfoError):
    """A conversion does not prove, or converted weights are not what their evidence says."""

    exit_code = 3


class Interrupted(SuperInfoError):
    """Stopped by a signal; the same command resumes."""

    exit_code = 75


def printable(text: str) -> str:
    """Return a text, which may come from a stranger's file, as one line that a terminal shows as it is."""
    return "".join(letter if letter.isprintable() else "?" for letter in text.replace("\n", " "))
