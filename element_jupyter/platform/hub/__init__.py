"""The Hub's parts, put together."""
