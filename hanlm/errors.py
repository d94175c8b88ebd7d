"""What a user can do something about. Anything else that escapes a command is a bug."""


class HanLMError(Exception):
    """One clear sentence: what was expected, what came, and the remedy."""

    exit_code = 2


class ConfigError(HanLMError):
    """A flag or a configuration key is wrong."""


class InputError(HanLMError):
    """A file the user gave cannot be used."""


class ArtifactError(HanLMError):
    """An artifact is missing, unfinished, corrupt, or does not belong with another."""


class Interrupted(HanLMError):  # noqa: N818  (a wish, not a fault)
    """Work stopped on a signal after everything worth keeping was saved."""

    exit_code = 75
