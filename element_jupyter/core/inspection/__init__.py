"""What can be said of a notebook before it is scheduled."""
