"""A pytest plugin that guards model releases."""
