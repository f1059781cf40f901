"""What goes wrong for a user, as exceptions whose text is the message."""

from operator import methodcaller


class OnnxliteError(Exception):
    """A mistake or fault that a user can act on; its text says what was expected, found, and what to do."""


# As `__tracebackhide__` of a module whose functions users call: pytest then shows such an error where they call, and not our
# lines below. What is no such error is a fault of ours, and keeps its traceback.
hide_mistakes = methodcaller("errisinstance", OnnxliteError)
