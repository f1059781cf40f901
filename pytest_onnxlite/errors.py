"""What goes wrong for a user, as exceptions whose text is the message."""


class OnnxliteError(Exception):
    """A mistake or fault that a user can act on; its text says what was expected, found, and what to do."""
