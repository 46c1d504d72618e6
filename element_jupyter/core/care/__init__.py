"""Care: what the platform tidies up, when, and what it tells people before it does."""
