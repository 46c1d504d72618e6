"""What the system tells of processes, limits and GPUs. What cannot be read is absent, no error."""
