"""Pages for people, in the look of the Hub, beside the REST interface."""
