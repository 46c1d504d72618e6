"""Values and rules of Element: standard library and pydantic only, no input or output."""
